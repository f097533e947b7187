"""What belongs to power besides the service itself: the camera rescue, the board's health, and their face."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hw.boards.board import Board, Health
from recorderd.control.cameras import Cameras
from recorderd.control.poe import PoeFace, PortUsers
from recorderd.daemon.watchdog import Service
from recorderd.model.device import Device
from recorderd.model.objects import Objects
from recorderd.model.ports import CameraLocator, CameraPlace, Clock, EventSink, HealthSource
from recorderd.power.board_health import BoardHealth
from recorderd.power.memory import Keeper
from recorderd.power.reachability import NetworkProber
from recorderd.power.rescue import Patience
from recorderd.power.rescuer import RescueService
from recorderd.power.service import PowerService
from recorderd.settings import Settings


@dataclass(frozen=True, slots=True)
class PowerParts:
    """`power` is None without PoE, `rescue` also where the settings switch it off."""

    power: PowerService | None
    rescue: RescueService | None
    health: BoardHealth
    face: PoeFace

    def services(self) -> list[Service]:
        found = [Service("board health", self.health.run)]
        if self.power is not None:
            found.append(Service("power", self.power.run))
        if self.rescue is not None:
            found.append(Service("camera rescue", self.rescue.run))
        return found


class Unlocated:
    """`ports.CameraLocator` where nobody watches the camera LAN: devices are on the ports the operator said, or on none."""

    def locate(self, address: str) -> CameraPlace | None:
        del address
        return None

    def protected_ports(self) -> frozenset[str]:
        return frozenset()


class _Devices:
    """The configured devices as power needs them, read when asked: they change while the recorder runs."""

    def __init__(self, objects: Objects, cameras: Cameras, locator: CameraLocator) -> None:
        self._locator = locator
        self._devices = cast("dict[str, Device]", objects.tables["device"])
        self._cameras = cameras

    def bindings(self) -> Mapping[uuid.UUID, str]:
        return {device.uid: device.poe_port for device in self._devices.values() if device.poe_port}

    def names(self) -> Mapping[uuid.UUID, str]:
        return {device.uid: device.id for device in self._devices.values()}

    def find(self, name: str) -> uuid.UUID | None:
        for device in self._devices.values():
            if name in (device.id, str(device.uid)):
                return device.uid
        return None

    def users(self) -> Mapping[str, PortUsers]:
        """By label: as the operator bound the devices, else as they were located."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        ports: dict[uuid.UUID, str] = {}
        for device in self._devices.values():
            place = self._locator.locate(device.address) if not device.poe_port and device.address else None
            port = device.poe_port or (place.port if place is not None else "")
            if port:
                ports[device.uid] = port
                found.setdefault(port, ([], []))[0].append(device.id)
        for seen in self._cameras.seen():
            if seen.device is not None and seen.device.uid in ports and self._cameras.state(seen) == "recording":
                recorded = found[ports[seen.device.uid]][1]
                if seen.device.id not in recorded:
                    recorded.append(seen.device.id)
        return {port: PortUsers(tuple(devices), tuple(recorded)) for port, (devices, recorded) in found.items()}


def no_board() -> Board:
    """No file says what sensors there are: what is not there is not missed."""
    usual = Health().soc_temperature
    return Board(
        name="none",
        title="no board file is named (recorder.board in recorderd.toml)",
        health=Health(soc_temperature=usual if Path(usual).exists() else ""),
    )


def build_power_parts(
    *,
    settings: Settings,
    board: Board | None,
    power: PowerService | None,
    keeper: Keeper,
    health: HealthSource,
    objects: Objects,
    cameras: Cameras,
    clock: Clock,
    events: EventSink,
    boot_id: uuid.UUID,
    locator: CameraLocator | None = None,
) -> PowerParts:
    """`locator` None: the network is not watched."""
    where = locator or Unlocated()
    devices = _Devices(objects, cameras, where)
    rescue = None
    if power is not None and settings.power.rescue:
        rescue = RescueService(
            power=power,
            health=health,
            locator=where,
            prober=NetworkProber(clock=clock),
            clock=clock,
            events=events,
            keeper=keeper,
            boot_id=str(boot_id),
            bindings=devices.bindings,
            patience=Patience(grace_s=settings.power.rescue_grace_s),
        )
    board_health = BoardHealth(
        board=board or no_board(),
        clock=clock,
        events=events,
        power=power,
    )
    face = PoeFace(
        power=power,
        rescue=rescue,
        clock=clock,
        users=devices.users,
        protected=where.protected_ports,
        device=devices.find,
        device_names=devices.names,
        check=board_health.check,
    )
    return PowerParts(power, rescue, board_health, face)
