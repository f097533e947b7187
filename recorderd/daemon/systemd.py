"""The daemon's side of systemd: the socket it passes, readiness, status and watchdog (sd_listen_fds(3), sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

import sdnotify

_FIRST_FD = 3


class Notifier:
    """Sends READY, WATCHDOG and STATUS, each in a message of its own: the library drops what Latin-1 cannot hold.

    Silent without systemd.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier() if "NOTIFY_SOCKET" in os.environ else None  # it would leak a socket
        self._status = ""

    def close(self) -> None:
        """The library never closes its socket by itself."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """The status line, as ASCII in one line; sent when it changed."""
        line = text.replace("\n", " ").encode("ascii", "backslashreplace").decode("ascii")
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(message)


def watchdog_period_s() -> float | None:
    """A third of the time systemd waits for WATCHDOG=1, or None when it does not watch this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 3e6
    except (KeyError, ValueError):
        return None


def passed_socket() -> socket.socket | None:
    """The listening control socket that systemd passed, or None. The variables are consumed, so that children do not see them."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit() or int(count) < 1:
        return None
    os.set_inheritable(_FIRST_FD, False)
    return socket.socket(fileno=_FIRST_FD)


def leave_word(socket_path: Path, ring: Path) -> None:
    """A link beside the socket to the ring in use: for `recorderctl status` when nobody answers. Where it cannot be made nothing is missed
    but that."""
    link = socket_path.with_name(f"{socket_path.name}.disk")
    new = link.with_name(f"{link.name}.new")
    with contextlib.suppress(OSError):
        new.unlink(missing_ok=True)
        new.symlink_to(ring.absolute())
        new.replace(link)


def own_socket(path: Path) -> socket.socket:
    """A listening socket at `path`, replacing one that nobody listens on any more. Raises OSError, also when somebody does."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                except OSError:
                    path.unlink()
                else:
                    raise FileExistsError(None, "another recorderd answers there", str(path))
        listening.bind(str(path))
        path.chmod(0o666)  # who may do what is decided from the peer's credentials
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
