"""What clients ask for never holds up the cameras: the sweep's delay while a 30-day timeline is asked for ten times a second, amid garbage.

The delay is measured as the CPU time that the loop's thread spends between two sweeps: what clients make it do, whatever else this
machine does meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from recorderd.control.timeline import TimelineFace
from recorderd.ingest.sweep import Sweep
from recorderd.model.causes import GapCause
from recorderd.model.clock import SystemClock
from recorderd.model.timeline import Instant
from recorderd.protocol import timeline
from recorderd.protocol.client import Client
from recorderd.protocol.wall import to_rfc3339
from recorderd.ring.border import SlotRef
from tests.ring.ledger.world import DAY, HOUR, World, identity

DAYS, GAPS_A_DAY = 30, 20
ASKED, EVERY_S = 60, 0.1
BOUND_MS = 100


class _Camera:
    """In the sweep's place of a session: notes the loop thread's CPU time at every pass."""

    def __init__(self) -> None:
        self.cpu_ns: list[int] = []

    def drain(self, view: memoryview, now_ns: int) -> None:
        self.cpu_ns.append(time.thread_time_ns())

    def tick(self, now_ns: int) -> None: ...


def _month() -> World:
    """30 days of one recording with 20 gaps a day; each stretch in a slot of its own."""
    world = World()
    run = world.start(1, (11,))
    stretch = DAY // GAPS_A_DAY
    for _ in range(DAYS * GAPS_A_DAY):
        begin = world.now
        world.clock.advance((stretch - 60_000_000_000) / 1e9)
        world.write(world.new_slot(), 1, 11, run, begin, world.now)
        world.ledger.note_gap(identity(1), [identity(11)], GapCause.CAMERA_SILENT, world.now, None)
        world.clock.advance(60)
        world.commit()
    return world


def test_the_sweep_goes_on_while_clients_ask_and_send_garbage(serve: Callable[..., Any]) -> None:
    world = _month()

    async def no_keys(_slot: SlotRef, _track: object) -> list[Instant]:
        return []

    served = serve(
        TimelineFace(ledger=world.ledger, key_frames=no_keys, find_recording=world.ledger.queries.find_recording).bind
    )
    camera = _Camera()
    sweep = Sweep(clock=SystemClock(), period_s=0.05)
    sweep.add(camera)
    sweeping = asyncio.run_coroutine_threadsafe(sweep.run(), served.loop)
    over = threading.Event()
    vandal = threading.Thread(target=_send_garbage, args=(str(served.path), over))
    vandal.start()
    try:
        bars = _ask(str(served.path), world)
    finally:
        over.set()
        vandal.join()
        sweeping.cancel()
    assert bars >= DAYS * GAPS_A_DAY
    spent_ms = sorted((b - a) / 1e6 for a, b in zip(camera.cpu_ns, camera.cpu_ns[1:], strict=False))
    assert len(spent_ms) > ASKED * EVERY_S / 0.05 / 3, "the sweep hardly ran"
    assert spent_ms[len(spent_ms) * 99 // 100] < BOUND_MS, spent_ms[-5:]


def _ask(path: str, world: World) -> int:
    """Ten times a second; the bars of the last answer."""
    call = timeline.TimelineCall(
        recording=str(identity(1)), start=to_rfc3339(world.wall - DAYS * DAY), stop=to_rfc3339(world.wall + HOUR)
    )
    bars = 0
    with Client.connect(path) as client:
        due = time.monotonic()
        for _ in range(ASKED):
            bars = len(client.call(timeline.GET_TIMELINE, call).bars)
            due += EVERY_S
            time.sleep(max(0.0, due - time.monotonic()))
    return bars


def _send_garbage(path: str, over: threading.Event) -> None:
    chance = random.Random(5)
    while not over.wait(0.005):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            try:
                peer.sendall(
                    chance.choice(
                        (chance.randbytes(5000), b"{" * 4000 + b"\0", b'{"method":"' + b"x" * 300_000 + b'"}\0')
                    )
                )
                peer.shutdown(socket.SHUT_WR)
                peer.recv(65536)
            except OSError:
                continue
