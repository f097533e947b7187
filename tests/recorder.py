"""A whole recorder of the test's own: the daemon as a process, its configuration below one folder, and `recorderctl` against it.

with Recorder(tmp_path) as recorder:
    recorder.ctl("status")
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from recorderd.model.clock import SystemClock
from recorderd.protocol import system, timeline
from recorderd.protocol.client import Client
from recorderd.protocol.errors import ControlError
from recorderd.protocol.message import Nothing
from recorderd.protocol.wall import from_rfc3339, to_rfc3339
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring

ROOT = Path(__file__).parents[1]
SLOT_BYTES = 8 << 20


def until(condition: Callable[[], bool], limit_s: float = 100.0) -> None:
    """Waits for what another process is about to do; how long is the machine's affair."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.05)


class Recorder:
    """`slots` formats a ring at the first start; 0 leaves the folder without one. Buffered writes, so that any file system will do,
    unless `durable`."""

    def __init__(
        self,
        folder: Path,
        *,
        slots: int = 0,
        durable: bool = False,
        board: str = "none",
        extra: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.socket = folder / "control"
        self.ring = folder / "ring"
        self.config = folder / "recorderd.toml"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._durability = "flush" if durable else "none"
        self._env = {**os.environ, **(env or {})}
        self.config.write_text(
            f'[recorder]\nname = "test"\nboard = "{board}"\n'
            f'[paths]\nsocket = "{self.socket}"\nstate = "{folder}/state"\n'
            f'[disk]\npath = "{self.ring}"\ndurability = "{self._durability}"\n'
            f"[limits]\nmedia_ram_mib = 64\n{extra}"
        )
        if slots:
            self.format(slots)

    def format(self, slots: int) -> None:
        self.ring.mkdir(exist_ok=True)
        durability = "direct" if self._durability == "flush" else "none"

        async def make() -> None:
            calls = DiskThreads(clock=SystemClock(), name="format")
            device = FileDevice(self.ring, durability=durability)
            try:
                await format_ring(
                    device,
                    calls,
                    formatted_ns=time.time_ns(),
                    durability=durability,
                    slots=slots,
                    slot_bytes=SLOT_BYTES,
                    writers=1,
                )
            finally:
                device.release()
                calls.close()

        asyncio.run(make())

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the control socket answers."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "recorderd", "--config", str(self.config)]
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, start_new_session=True, env=self._env)
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, f"the daemon ended: {self.log.read_text()}"
            try:
                with Client.connect(str(self.socket)) as client:
                    client.call(system.GET_STATUS, Nothing())
                return
            except OSError:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL: what a crash leaves behind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def ctl(self, *words: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(self.socket), *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            input=stdin,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> system.Status:
        with Client.connect(str(self.socket)) as client:
            return client.call(system.GET_STATUS, Nothing())

    def camera(self, name: str) -> system.Camera:
        return next(camera for camera in self.status().cameras if camera.name == name)

    def bars(self) -> list[tuple[float, float, str | None]]:
        """The last hour of the recording `door`: from and to in seconds and, of a gap, its cause."""
        now_ns = time.time_ns()
        call = timeline.TimelineCall(
            recording="door",
            track="VIDEO001",
            start=to_rfc3339(now_ns - 3600 * 1_000_000_000),
            stop=to_rfc3339(now_ns),
        )
        try:
            with Client.connect(str(self.socket)) as client:
                found = client.call(timeline.GET_TIMELINE, call)
        except ControlError:
            return []  # there is no such recording yet
        return [(from_rfc3339(bar.start) / 1e9, from_rfc3339(bar.stop) / 1e9, bar.cause) for bar in found.bars]

    def has_recorded_for(self, seconds: float) -> bool:
        """Whether the newest stretch of `door` on the disk is so long."""
        found = self.bars()
        return bool(found) and found[-1][2] is None and found[-1][1] - found[-1][0] >= seconds
