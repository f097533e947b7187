"""Units of ours, started and stopped by name: `systemctl` with fixed arguments. Never a name from outside."""

from __future__ import annotations

import asyncio
from typing import Protocol

TIMEOUT_S = 30.0
PREFIX = "recorderd-"


class UnitFailed(Exception):
    """systemd refused or the unit did not come up; one line."""


class Units(Protocol):
    """What the network room needs of the service manager."""

    async def start(self, unit: str) -> None:
        """Returns once it runs (a oneshot: once it is over). Raises UnitFailed."""

    async def stop(self, unit: str) -> None: ...

    async def restart(self, unit: str) -> None: ...

    async def active(self, unit: str) -> bool: ...


class SystemdUnits:
    """systemd's. The daemon is not root: polkit lets it manage exactly the units whose names begin with `recorderd-` (config/polkit)."""

    async def start(self, unit: str) -> None:
        await self._call("start", unit)

    async def stop(self, unit: str) -> None:
        await self._call("stop", unit)

    async def restart(self, unit: str) -> None:
        await self._call("restart", unit)

    async def active(self, unit: str) -> bool:
        code, _ = await _systemctl("is-active", "--quiet", unit)
        return code == 0

    async def _call(self, verb: str, unit: str) -> None:
        if not unit.startswith(PREFIX):
            raise ValueError(unit)
        code, said = await _systemctl(verb, unit)
        if code != 0:
            raise UnitFailed(f"systemctl {verb} {unit}: {said or f'ended with {code}'}")


async def _systemctl(*words: str) -> tuple[int, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            "systemctl",
            "--no-ask-password",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise UnitFailed("systemctl is missing: this machine is not run by systemd") from error
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, err = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise UnitFailed(f"systemctl {' '.join(words)} did not end within {TIMEOUT_S:.0f} s") from error
    lines = err.decode("utf-8", "replace").strip().splitlines()
    return process.returncode or 0, lines[0][:300] if lines else ""
