"""The parts of this room and how they are wired, for the composition root."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recorderd.model.network import NetworkSettings
from recorderd.model.ports import Clock, EventSink, LinkObserver
from recorderd.network.execute import KernelExecutor
from recorderd.network.generations import Generations
from recorderd.network.login import login_of
from recorderd.network.service import NetworkService
from recorderd.network.services import services_of
from recorderd.network.timekeeper import TimeKeeper
from recorderd.network.transaction import Transactions
from recorderd.network.undo import SystemdUndoTimer
from recorderd.network.units import SystemdUnits


@dataclass(frozen=True, slots=True)
class NetworkParts:
    """Each has `run()`. `service` is the `ports.CameraLocator`; `keeper.trust` is for `SystemClock(trust=...)`."""

    service: NetworkService
    keeper: TimeKeeper


def network_parts(
    *,
    settings: NetworkSettings,
    zone: str | None,
    state_folder: Path,
    run_folder: Path,
    labels: Mapping[str, str],
    events: EventSink,
    clock: Clock,
    observer: LinkObserver | None = None,
) -> NetworkParts:
    """`state_folder` is /var/lib/recorderd and `run_folder` /run/recorderd on an installed system, where our units look for their files;
    `labels`: interface -> label on the case, from the board. Creates and changes nothing."""
    if settings.manage:
        importlib.import_module("recorderd.network.changing")  # takes its time: now, not in the middle of a change
    folder = state_folder / "network"
    units = SystemdUnits()
    executor = KernelExecutor()
    transactions = Transactions(
        generations=Generations(folder),
        executor=executor,
        undo=SystemdUndoTimer(units=units),
        units=units,
        services=services_of,
        clock=clock,
        login_of=login_of,
    )
    service = NetworkService(
        settings=settings,
        folder=folder,
        transactions=transactions,
        executor=executor,
        units=units,
        events=events,
        clock=clock,
        labels=labels,
        observer=observer,
        resolv_file=run_folder / "resolv.conf",
    )
    keeper = TimeKeeper(
        managed=settings.manage,
        ntp=settings.ntp,
        zone=zone,
        state_folder=state_folder,
        run_folder=run_folder,
        units=units,
        events=events,
        clock=clock,
    )
    service.on_lease.append(keeper.lease_changed)
    return NetworkParts(service, keeper)
