"""Hours and days of a camera with a new fault every few minutes: everything is explained, and memory is flat."""

from __future__ import annotations

import gc
import random
import sys

import pytest

from recorderd.model.causes import GapCause
from tests.ingest.world import SECOND, World, simulate

FAULTS = ("mute", "stall", "close", "reset", "refuse", "drop", "jump", "fine", "fine")


def day(hours: float, fps: float, seed: int) -> World:
    """A camera with a new fault, or none, every few minutes."""
    rng = random.Random(seed)

    async def scenario(world):
        camera, faults, end = (
            world.camera,
            world.camera.faults,
            world.clock.boottime_ns() + round(hours * 3600 * SECOND),
        )
        world.sink.keep = False
        while world.clock.boottime_ns() < end:
            match rng.choice(FAULTS):
                case "mute":
                    faults.mute = True
                case "stall":
                    faults.stall = True
                case "close":
                    camera.end_all()
                case "reset":
                    camera.end_all(ConnectionResetError(104, "reset"))
                case "refuse":
                    faults.refuse = GapCause.CAMERA_REFUSED
                    camera.end_all()
                case "drop":
                    faults.drop_every = 7
                case "jump":
                    camera.jump_ticks += rng.randrange(1, 10**9)
            await world.clock.sleep(rng.randrange(1, 120))
            faults.mute = faults.stall = False
            faults.refuse, faults.drop_every = None, 0
            await world.clock.sleep(rng.randrange(60, 300))

    return simulate(scenario, fps=fps)


def check_day(world: World) -> None:
    """Every stretch without pictures is explained: by an end, a failed attempt, an interruption or a new session."""
    assert world.sink.unexplained(2 * SECOND) == []
    assert world.camera.most_wires == 1
    causes = {entry[1] for entry in world.sink.said("closed")} | {entry[2] for entry in world.sink.said("interrupted")}
    assert {
        GapCause.CAMERA_SILENT,
        GapCause.NO_MEDIA,
        GapCause.CAMERA_CLOSED,
        GapCause.CAMERA_RESET,
        GapCause.PACKET_LOSS,
    } <= causes


def test_three_hours_of_faults_are_all_explained():
    check_day(day(3, 2, 1))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_day_of_faults_is_all_explained():
    check_day(day(24, 25, 2))


def blocks_after(hours: float, fps: float) -> int:
    gc.collect()
    before = sys.getallocatedblocks()
    world = day(hours, fps, 3)
    world.sink.log.clear()
    del world
    gc.collect()
    return sys.getallocatedblocks() - before


def test_memory_is_flat():
    """What ten thousand frames leave behind is what a thousand leave."""
    day(0.1, 2, 3)
    short, long = blocks_after(0.2, 2), blocks_after(1.5, 2)
    assert long - short < 2000
