"""A ring whose disk has gone: who feeds it is asked all the same, what waits stays within its bound, and it goes on with the disk."""

from __future__ import annotations

import asyncio
import errno

from recorderd.model.causes import GapCause
from recorderd.model.ports import StoreUnavailable
from recorderd.ring.disk_threads import InlineCalls
from recorderd.ring.ring import Ring, RingState
from tests.ring.failing_disk import Faults
from tests.ring.fakes import BOOT, ListLedger, contents, feed, formatted, head
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated

BOUND = 100_000
SIZE = 5_000


def test_feeders_are_asked_every_second_also_while_the_disk_is_away() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk, slots=32)
        faults = Faults(disk)
        ring = Ring(
            open_device=lambda: disk,
            make_calls=InlineCalls,
            ledger=ListLedger(),
            clock=clock,
            boot_id=BOOT,
            head=head,
            queue_bytes=BOUND,
        )
        refused: list[GapCause] = []
        asked_ns: list[int] = []
        assert await ring.mount()
        one = feed(ring, clock)

        def feeder(now_ns: int) -> None:
            asked_ns.append(now_ns)
            try:
                one.append(len(one.serials), SIZE)
            except StoreUnavailable as error:
                refused.append(error.cause)

        ring.before_tick(feeder)
        task = asyncio.create_task(ring.run())
        await clock.sleep(5)
        assert ring.state is RingState.HEALTHY
        for call in ("open", "read", "write", "sync"):
            faults.fail(call, code=errno.ENODEV)
        await clock.sleep(5)
        assert ring.state is RingState.DEGRADED
        before = len(asked_ns)
        await clock.sleep(60)
        assert 58 <= len(asked_ns) - before <= 72, "once a second, and when mounting is tried again"
        assert ring.status().queued_bytes <= BOUND
        assert set(refused) == {GapCause.DISK_ERROR}
        faults.clear()
        await clock.sleep(20)
        assert ring.state is RingState.HEALTHY
        found = {serial for serials in (await contents(ring)).values() for serial in serials}
        assert found == set(one.acknowledged), "what waited is stored, and what came then"
        assert len(found) > BOUND // (2 * SIZE) + 20
        await ring.close()
        await task

    run_simulated(main)
