"""What the recorder tells of its own disk: failures that a simulated disk makes, as events."""

from __future__ import annotations

import asyncio
import errno

from recorderd.events.broker import Broker
from recorderd.events.disk import DISRUPTION, FAILURE, WRITE_ERROR, DiskEvents
from recorderd.events.history import History
from recorderd.model.ports import Event
from tests.ring.fakes import feed, formatted, ring_on
from tests.ring.sim_disk import SimDisk
from tests.simulated_time import FakeClock, run_simulated


def test_a_disk_that_is_missing_comes_fails_and_comes_back() -> None:
    async def main(clock: FakeClock) -> None:
        disk = SimDisk()
        await formatted(disk)
        there: list[SimDisk] = []

        def find() -> SimDisk:
            if not there:
                raise FileNotFoundError(errno.ENOENT, "no disk")
            return there[0]

        broker = Broker(clock=clock, history=History())
        heard: list[Event] = []
        broker.listen(heard.append)
        ring = ring_on(find, clock)
        events = DiskEvents(look=ring.health, events=broker, clock=clock)
        events.look()
        assert heard == [], "nobody has looked for the disk yet"
        tasks = [asyncio.create_task(ring.run()), asyncio.create_task(events.run())]

        def said(topic: str) -> list[str]:
            return [dict(e.data).get("disruption", dict(e.data).get("Failed", "")) for e in heard if e.topic == topic]

        await asyncio.sleep(10)
        assert (said(DISRUPTION), said(FAILURE)) == (["1"], ["false"]), "missing is not failed"
        there.append(disk)
        await asyncio.sleep(10)
        assert said(DISRUPTION) == ["1", "0"]

        def refuse(kind: str, path: str, offset: int, size: int) -> None:
            if kind in ("write", "read") and path != "recorderd.id":
                raise OSError(errno.EIO, "rotten")

        disk.fault = refuse
        feed(ring, clock).append(1, 9_000)
        await asyncio.sleep(3)
        assert any(e.topic == WRITE_ERROR and int(dict(e.data)["New"]) > 0 for e in heard)
        await asyncio.sleep(60)
        assert said(FAILURE)[:2] == ["false", "true"]
        disk.fault = lambda *_: None
        await asyncio.sleep(60)
        assert (said(DISRUPTION)[-1], said(FAILURE)[-1]) == ("0", "false")
        await ring.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_simulated(main)
