"""The watchdog: fed while nothing is stuck, withheld when something is; nothing due is healthy. And the messages that systemd gets."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from recorderd.daemon.systemd import Notifier, passed_socket, watchdog_period_s
from recorderd.daemon.watchdog import LoopProbe, feed
from recorderd.ingest.sweep import Sweep
from tests.simulated_time import FakeClock, run_simulated


class _Counting(Notifier):
    def __init__(self) -> None:
        super().__init__()
        self.fed = 0

    def watchdog(self) -> None:
        self.fed += 1


class _Part:
    reason: str | None = None

    def stuck(self) -> str | None:
        return self.reason


def test_an_hour_with_nothing_to_do_is_healthy_and_a_stuck_part_is_not() -> None:
    async def main(clock: FakeClock) -> None:
        notifier, part = _Counting(), _Part()
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed(notifier, 10.0, [part], clock))
            await clock.sleep(3600)
            assert 355 <= notifier.fed <= 361, notifier.fed
            part.reason = "data waits and nothing was committed for 31 s"
            before = notifier.fed
            await clock.sleep(600)
            assert notifier.fed == before
            part.reason = None
            await clock.sleep(60)
            assert notifier.fed > before
            feeding.cancel()

    run_simulated(main)


def test_the_probe_sees_a_loop_that_is_held_up() -> None:
    async def main(clock: FakeClock) -> None:
        probe = LoopProbe()
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(Sweep(clock=clock, on_late=probe.note).run())
            await clock.sleep(30)
            assert probe.health().overruns == 0
            for _ in range(20):
                clock.advance(0.2)  # as if a callback had taken so long
                await clock.sleep(0.5)
            assert probe.health().overruns == 20
            assert probe.health().late_p99_ms > 150
            probing.cancel()

    run_simulated(main)


def test_the_probe_sees_a_camera_that_takes_the_loop() -> None:
    async def main(clock: FakeClock) -> None:
        class Slow:
            work_s = 0.005

            def drain(self, view: memoryview, now_ns: int) -> None:
                clock.advance(self.work_s)

            def tick(self, now_ns: int) -> None: ...

        probe, cameras = LoopProbe(), [Slow(), Slow()]
        sweep = Sweep(clock=clock, on_late=probe.note)
        for camera in cameras:
            sweep.add(camera)
        async with asyncio.TaskGroup() as group:
            sweeping = group.create_task(sweep.run())
            await clock.sleep(5)
            assert probe.health().overruns == 0, "the loop had its turn after each 8 ms"
            cameras[1].work_s = 0.03
            before = sweep.passes
            await clock.sleep(5)
            assert probe.health().overruns == sweep.passes - before > 10
            sweeping.cancel()

    run_simulated(main)


def test_systemd_hears_one_thing_a_message_in_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notifier = Notifier()
        notifier.ready()
        notifier.status("RECORDING 1/2: T\u00fcr\nforged")
        notifier.status("RECORDING 1/2: T\u00fcr\nforged")
        notifier.watchdog()
        heard = [systemd.recv(1000) for _ in range(3)]
        notifier.close()
    assert heard == [b"READY=1", b"STATUS=RECORDING 1/2: T\\xfcr forged", b"WATCHDOG=1"]


def test_the_watchdog_s_period_is_a_third_and_only_for_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_period_s() == 10.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_period_s() is None
    monkeypatch.delenv("WATCHDOG_USEC")
    monkeypatch.delenv("WATCHDOG_PID")
    assert watchdog_period_s() is None


def test_a_socket_for_another_process_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert passed_socket() is None
    assert "LISTEN_FDS" not in os.environ
