"""One camera, the service and what comes out of it, in simulated time."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable

from recorderd.ingest.service import Ingest
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import StreamRequest
from tests.ingest.fake_camera import FakeCamera
from tests.ingest.gather import Gather
from tests.recording.fakes import Ears
from tests.simulated_time import FakeClock, run_simulated

RECEIVER = uuid.UUID(int=1)


SECOND = 1_000_000_000


class World:
    def __init__(self, clock: FakeClock, *, media_ram: int = 64 << 20, **camera: object) -> None:
        self.clock = clock
        self.events = Ears()
        self.camera = FakeCamera(clock.boottime_ns, **camera)
        self.sink = Gather()
        self.ingest = Ingest(
            clock=clock,
            media_ram=MediaRam(media_ram),
            events=self.events,
            chance=random.Random(1),
            open_with=self.camera.open_with,
            reach=self.camera.reach,
        )
        self.request = StreamRequest(receiver=RECEIVER, name="cam1", uri="rtsp://192.0.2.1/x")

    def status(self):
        return self.ingest.statuses()[RECEIVER]

    def health(self):
        (health,) = self.ingest.health()
        return health


def simulate(scenario: Callable[[World], Awaitable[None]], **camera: object) -> World:
    """Runs `scenario` next to the service and the camera."""

    async def main(clock: FakeClock) -> World:
        world = World(clock, **camera)
        world.ingest.start(world.request, world.sink)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(world.ingest.run()), group.create_task(world.camera.run())]
            await scenario(world)
            for task in tasks:
                task.cancel()
        return world

    return run_simulated(main)
