"""When the person at the other end logged in: the proof that a changed network still lets people in.

A confirmation counts only from a login made after the change. The login is the nearest ancestor of the calling process that belongs to
a login program (sshd's process for that connection, login on a console); under tmux, screen or anything else that outlives a login it is
the oldest ancestor, so that a terminal that was there before the change proves nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NETWORK_LOGINS = frozenset({"sshd", "sshd-session", "dropbear"})
CONSOLE_LOGINS = frozenset({"login", "agetty", "getty"})
DEPTH_MAX = 64
STAT_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Login:
    """`began_s` in seconds of CLOCK_BOOTTIME. Someone at the console is never cut off, whenever they came."""

    began_s: float
    console: bool = False


def login_of(pid: int, proc: Path = Path("/proc")) -> Login | None:
    """The login that process `pid` belongs to; None where it cannot be told (the process is gone)."""
    oldest: float | None = None
    for _ in range(DEPTH_MAX):
        if pid <= 1:
            break
        try:
            with (proc / str(pid) / "stat").open("rb") as file:
                name, parent, began_s = _parse(file.read(STAT_MAX_BYTES))
        except (OSError, ValueError, IndexError):  # gone, or not for us to see
            break
        if name in NETWORK_LOGINS or name in CONSOLE_LOGINS:
            return Login(began_s, console=name in CONSOLE_LOGINS)
        oldest = began_s if oldest is None else min(oldest, began_s)
        pid = parent
    return None if oldest is None else Login(oldest)


def _parse(stat: bytes) -> tuple[str, int, float]:
    """proc(5): pid (comm) state ppid ... starttime is field 22, in clock ticks since boot. comm may hold spaces and brackets."""
    opening, closing = stat.index(b"("), stat.rindex(b")")
    fields = stat[closing + 2 :].split()
    return (
        stat[opening + 1 : closing].decode("utf-8", "replace"),
        int(fields[1]),
        int(fields[19]) / os.sysconf("SC_CLK_TCK"),
    )
