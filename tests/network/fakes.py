"""What stands in for systemd in namespaces: units that only remember, and an undo timer that runs the real guard when told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from recorderd.network.units import UnitFailed

GUARD = Path(__file__).parents[2] / "systemd" / "recorderd-network-guard"


class FakeUnits:
    def __init__(self) -> None:
        self.running: set[str] = set()
        self.calls: list[str] = []
        self.refuse: set[str] = set()

    async def start(self, unit: str) -> None:
        await self._call("start", unit)
        self.running.add(unit)

    async def stop(self, unit: str) -> None:
        await self._call("stop", unit)
        self.running.discard(unit)

    async def restart(self, unit: str) -> None:
        await self._call("restart", unit)
        self.running.add(unit)

    async def active(self, unit: str) -> bool:
        return unit in self.running

    async def _call(self, verb: str, unit: str) -> None:
        self.calls.append(f"{verb} {unit}")
        if f"{verb} {unit}" in self.refuse:
            raise UnitFailed(f"{verb} {unit} refused")


class GuardTimer:
    """The undo timer of a machine whose systemd has only this one unit. `tick` is what the timer would do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.armed = False
        self.refuse = False

    async def arm(self) -> None:
        if self.refuse:
            raise UnitFailed("the timer does not start")
        assert (self.folder / "pending").exists(), "armed before there was something to undo"
        self.armed = True

    async def disarm(self) -> None:
        self.armed = False

    async def run_now(self) -> None:
        await self.guard("tick")

    async def guard(self, verb: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "sh",
            str(GUARD),
            verb,
            str(self.folder),
            env=os.environ | {"RECORDERD_SYSTEMCTL": f"{self.folder}/../systemctl"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        return out.decode()
