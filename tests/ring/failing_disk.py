"""A ring that has begun to record on a simulated disk, and the calls of that disk that fail when told to."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from recorderd.ring.ring import Ring
from tests.ring.fakes import Feed, ListLedger, contents, feed, formatted, ring_on
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated


class Faults:
    """Raises for the calls a test names."""

    def __init__(self, disk: SimDisk) -> None:
        self.rules: list[Callable[[str, str, int], None]] = []
        disk.fault = self._ask

    def _ask(self, kind: str, path: str, offset: int, size: int) -> None:
        for rule in self.rules:
            rule(kind, path, offset)

    def fail(
        self, kind: str, *, path: str | None = None, times: int = 1 << 30, code: int = errno.EIO, at: int | None = None
    ) -> None:
        left = times

        def rule(asked: str, where: str, offset: int) -> None:
            nonlocal left
            hit = asked == kind and (path is None or where.startswith(path)) and (at is None or offset >= at)
            if left and hit:
                left -= 1
                raise OSError(code, f"{kind} of {where} fails")

        self.rules.append(rule)

    def clear(self) -> None:
        self.rules.clear()


@dataclass
class Started:
    """Three fragments are on the disk."""

    clock: FakeClock
    disk: SimDisk
    faults: Faults
    ring: Ring
    ledger: ListLedger
    one: Feed


def on_a_started_ring(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a test of a story that is told in simulated time; what it takes after `started` are fixtures and parameters."""
    _, *fixtures = inspect.signature(story).parameters.values()

    def test(**given: object) -> None:
        async def main(clock: FakeClock) -> None:
            disk, ledger = SimDisk(), ListLedger()
            await formatted(disk)
            faults, ring = Faults(disk), ring_on(disk, clock, ledger)
            assert await ring.mount()
            one = feed(ring, clock)
            for i in range(3):
                one.append(i, 5_000)
                await ring.tick()
            await story(Started(clock, disk, faults, ring, ledger, one), **given)

        run_simulated(main)

    test.__doc__ = story.__doc__
    test.__signature__ = inspect.Signature(fixtures)  # type: ignore[attr-defined]
    return test


async def serials(ring: Ring) -> list[int]:
    return sorted(s for found in (await contents(ring)).values() for s in found)
