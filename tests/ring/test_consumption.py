"""What closes no slot: reconnects, clock steps, new parameter sets, pauses between events."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from recorderd.model.ports import Anchor, WriterSpec, WriterTrack
from recorderd.model.stream import Codec, TrackFormat
from recorderd.ring.open_slot import writer_key
from tests.ring.fakes import VIDEO, Body, Sink, formatted, ring_on, spec
from tests.ring.test_reach import ForgetfulDisk, Watcher
from tests.simulated_time import FakeClock, run_simulated

SESSION_S = 10


@pytest.mark.parametrize("hours", [3, pytest.param(24, marks=pytest.mark.slow)])
def test_reconnects_clock_steps_and_parameter_sets_do_not_use_up_the_ring(hours: int) -> None:
    async def main(clock: FakeClock) -> None:
        disk = ForgetfulDisk()
        await formatted(disk, slots=64, slot_bytes=8 << 20, journal_blocks=4096)
        ring = ring_on(disk, clock, Watcher())
        assert await ring.mount()
        media = 0
        for number in range(hours * 3600 // SESSION_S):
            # Each session is a new writer with other parameter sets, other RTP times and another serial.
            form = replace(VIDEO, config=bytes([number % 7]), width=640 + 16 * (number % 3))
            one = spec(1)
            fresh: WriterSpec = replace(one, tracks=(WriterTrack(one.tracks[0].track, form, "VIDEO001"),))
            writer = ring.open_writer(fresh, Sink())
            now = clock.boottime_ns()
            pts = (number * 2_654_435_761) % (1 << 40)
            body = Body(number, 300_000, pts, duration=9 * 90_000)
            writer.append(body, 1, [Anchor(0, pts, now, number)], now, now + 1)
            media += body.size
            writer.close()
            if number % 6 == 5:
                clock.step((-1) ** number * 7.5)
            await ring.tick()
            if ring.store is not None and ring.store.snapshot is not None:
                await ring.store.write_checkpoint()
            clock.advance(SESSION_S)
        statistics = ring.status().statistics
        used = statistics.slots_closed * (8 << 20)
        assert statistics.slots_closed >= 12
        assert used <= 1.1 * media, f"{used / media:.3f}"
        assert len(ring.status().faults) == 0
        assert ring.status().open_slots == 1

    run_simulated(main)


def test_a_new_session_lies_at_its_boot_time_distance_and_never_before_what_is_there() -> None:
    async def main(clock: FakeClock) -> None:
        disk = ForgetfulDisk()
        await formatted(disk, slots=16, slot_bytes=1 << 20)
        ring = ring_on(disk, clock, Watcher())
        assert await ring.mount()
        writer = ring.open_writer(spec(1), Sink())
        start = clock.boottime_ns()

        async def second(at_s: float, pts: int, session: int) -> tuple[int, int]:
            at = start + round(at_s * 1e9)
            writer.append(Body(1, 1_000, pts), 1, [Anchor(0, pts, at, session)], at, at)
            await ring.tick()
            await ring.tick()
            assert ring.store is not None
            (slot,) = ring.store.live.values()
            part = slot.entries[-1].parts[0]
            return part.first_pts - part.base, part.end_pts - part.base

        assert await second(0, 5_000_000, 1) == (0, 90_000)
        assert await second(1, 5_090_000, 1) == (90_000, 180_000)
        assert await second(60, 77, 2) == (60 * 90_000, 61 * 90_000)
        # clock drift inside a session moves nothing
        assert await second(61.2, 90_077, 2) == (61 * 90_000, 62 * 90_000)
        # a session that seems to begin in the past is put behind what is there
        assert await second(30, 1 << 40, 3) == (62 * 90_000, 63 * 90_000)
        # media time that jumps inside a session is placed by boot time again
        assert await second(100, 1 << 45, 3) == (100 * 90_000, 101 * 90_000)
        assert await second(101, 9, 3) == (101 * 90_000, 102 * 90_000)

    run_simulated(main)


def test_a_writer_of_another_audio_format_gets_a_slot_of_its_own() -> None:
    def key(config: bytes) -> str:
        track = WriterTrack(uuid.UUID(int=5), TrackFormat(Codec.AAC, 48_000, config=config, sample_rate=48_000))
        return writer_key(replace(spec(1), tracks=(track,)))

    assert key(b"\x11\x90") == key(b"\x11\x90")
    assert key(b"\x11\x90") != key(b"\x12\x10")
