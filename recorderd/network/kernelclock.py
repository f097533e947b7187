"""What the kernel itself says about the clock: whether someone disciplines it, and the moment it is set."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

STA_UNSYNC = 0x40
TIME_ERROR = 5
TIMEX_BYTES = 208
TFD_TIMER_ABSTIME_CANCEL_ON_SET = 1 | 2
TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
FAR_S = 365 * 86400  # the timer itself must not fire

_LIBC = ctypes.CDLL(None, use_errno=True)


def disciplined() -> bool:
    """adjtimex(2), which anyone may ask: an NTP program has the clock synchronised (STA_UNSYNC is clear)."""
    buffer = ctypes.create_string_buffer(TIMEX_BYTES)  # struct timex with modes = 0
    state = _LIBC.adjtimex(buffer)
    (status,) = struct.unpack_from("=i", buffer, 40)  # int modes, pad, 4 longs, int status
    return bool(state >= 0 and state != TIME_ERROR and not status & STA_UNSYNC)


def has_rtc(root: Path = Path("/")) -> bool:
    """Whether the machine has a clock of its own that set the system's at boot (/sys/class/rtc/*/hctosys)."""
    for entry in sorted((root / "sys/class/rtc").glob("rtc*")):
        try:
            if (entry / "hctosys").read_text(encoding="ascii").strip() == "1":
                return True
        except OSError:
            continue
    return False


class StepWatch:
    """Calls `stepped` when CLOCK_REALTIME is set: a timer that the kernel cancels then (timerfd_create(2), CANCEL_ON_SET)."""

    def __init__(self, stepped: Callable[[], None]) -> None:
        self._stepped = stepped
        self._descriptor = _LIBC.timerfd_create(time.CLOCK_REALTIME, TFD_NONBLOCK_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._arm()
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _arm(self) -> None:
        new = (ctypes.c_long * 4)(0, 0, int(time.time()) + FAR_S, 0)
        if _LIBC.timerfd_settime(self._descriptor, TFD_TIMER_ABSTIME_CANCEL_ON_SET, new, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _readable(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return
            if error.errno != errno.ECANCELED:
                raise
        self._arm()
        self._stepped()
