"""The way back that does not need us: a timer of systemd's that runs the guard, armed before the first change."""

from __future__ import annotations

from typing import Protocol

from recorderd.network.units import UnitFailed, Units

TIMER = "recorderd-network-undo.timer"
GUARD = "recorderd-network-undo.service"


class UndoTimer(Protocol):
    """Behind it stands the guard, which reads `generations`' pending file and knows the deadline from there."""

    async def arm(self) -> None:
        """On return the timer runs. Raises UnitFailed: then nothing may be changed."""

    async def disarm(self) -> None:
        """Nothing is pending any more."""

    async def run_now(self) -> None:
        """Runs the guard to its end; it acts at once where the deadline has passed. Raises UnitFailed."""


class SystemdUndoTimer:
    def __init__(self, *, units: Units) -> None:
        self._units = units

    async def arm(self) -> None:
        await self._units.start(TIMER)
        if not await self._units.active(TIMER):
            raise UnitFailed(f"{TIMER} does not run")

    async def disarm(self) -> None:
        await self._units.stop(TIMER)

    async def run_now(self) -> None:
        await self._units.start(GUARD)
