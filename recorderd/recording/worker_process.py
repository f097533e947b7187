"""One child process: started with nothing but its work, watched, and ended by its descriptor.

A worker inherits no environment, no path, and no descriptor but its work socket, its output and standard error. It cannot outlive the
daemon (it asks the kernel for that itself, see `workers.confinement`), and the daemon never waits for it without a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

import recorderd
from recorderd.protocol.work import MAX_MESSAGE_BYTES

T = TypeVar("T")
_PIPE_BYTES = 1 << 20
_END_S = 5.0


class WorkerFailed(Exception):
    """The worker ended without an answer, or gave a wrong one."""


class WorkerProcess:
    """Made by `start`. Everything on the loop."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket, output: int | None) -> None:
        self._process = process
        # Signals go through it: by then the id may belong to another process.
        self._pidfd = _open_pidfd(process.pid)
        self._channel = channel
        self._output = output
        self._ended = False

    @classmethod
    async def start(cls, module: str, *, piped: bool = True) -> WorkerProcess:
        """Runs `python -m recorderd.workers.MODULE`, whose standard output comes here when `piped`. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        read_end, write_end = _pipe() if piped else (None, None)
        try:
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-S", "-m", f"recorderd.workers.{module}", str(os.getpid()), str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),), cwd="/", env=_environment(),
                stdout=asyncio.subprocess.DEVNULL if write_end is None else write_end,
            )  # fmt: skip
        except BaseException:
            ours.close()
            if read_end is not None:
                os.close(read_end)
            raise
        finally:
            theirs.close()
            if write_end is not None:
                os.close(write_end)
        return cls(process, ours, read_end)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def piped(self) -> bool:
        """Whether its output comes through this process."""
        return self._output is not None

    async def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> None:
        """Raises WorkerFailed when the worker is gone or the message too large."""
        data = msgspec.json.encode(message)
        if len(data) > MAX_MESSAGE_BYTES:
            raise WorkerFailed(f"a message of {len(data)} bytes")
        while True:
            try:
                socket.send_fds(self._channel, [data], list(fds))
                return
            except BlockingIOError:
                await _ready(writing=[self._channel.fileno()])
            except OSError as error:
                raise WorkerFailed("the worker ended early") from error

    def receive_now(self, wanted: type[T]) -> T | None:
        """A message if there is one. Raises WorkerFailed when the worker is gone or answers nonsense."""
        try:
            data = self._channel.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise WorkerFailed("the worker ended early") from error
        if not data:
            raise WorkerFailed("the worker ended early")
        try:
            return msgspec.json.decode(data, type=wanted)
        except msgspec.DecodeError as error:
            raise WorkerFailed(f"the worker's answer is malformed: {error}") from error

    def read_now(self, size: int = _PIPE_BYTES) -> bytes | None:
        """Output if there is some; None when there is none yet, empty at its end and of a worker whose output is not piped."""
        if self._output is None:
            return b""
        try:
            return os.read(self._output, size)
        except BlockingIOError:
            return None

    async def wait_for_news(self, timeout_s: float, *, messages: bool, output: bool) -> None:
        """Until there is one of what is asked for. Raises TimeoutError."""
        fds = [self._channel.fileno()] if messages else []
        if output and self._output is not None:
            fds.append(self._output)
        await asyncio.wait_for(_ready(fds), timeout_s)

    async def wait_for_room(self, pipe: int, timeout_s: float) -> None:
        """Until `pipe` takes more, or there is a message. Raises TimeoutError."""
        await asyncio.wait_for(_ready([self._channel.fileno()], writing=[pipe]), timeout_s)

    async def hang_up(self, timeout_s: float) -> None:
        """Says that nothing more will come, and leaves the worker so long to end by itself."""
        if self._ended:
            return
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)

    async def end(self) -> None:
        """Ends the process if it has not ended by itself; closes what is ours. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._channel.close()
        if self._output is not None:
            os.close(self._output)
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
        # A process stuck in the kernel cannot be waited for; it has nothing of ours but descriptors that only read.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _END_S)


def _pipe() -> tuple[int, int]:
    """Both ends; the reading one does not block."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    with contextlib.suppress(OSError):  # a process without privilege may be at its limit for pipes: only slower
        fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read_end, write_end


def _open_pidfd(pid: int) -> int:
    """-1 when the process has ended already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1


def _environment() -> dict[str, str]:
    """All a worker gets: where packages are, as this process found them (so it need not look for itself: `-S`), and one thread per
    library."""
    places = [str(Path(recorderd.__file__).resolve().parent.parent), *filter(os.path.isabs, sys.path)]
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


async def _ready(reading: Sequence[int] = (), writing: Sequence[int] = ()) -> None:
    """Until one of them can be read or written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    for fd in reading:
        loop.add_reader(fd, wake)
    for fd in writing:
        loop.add_writer(fd, wake)
    try:
        await ready
    finally:
        for fd in reading:
            loop.remove_reader(fd)
        for fd in writing:
            loop.remove_writer(fd)
