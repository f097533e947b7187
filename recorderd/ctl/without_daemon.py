"""What can be said of the recorder while its daemon does not answer: from systemd and from the files on the disk."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from recorderd.ctl.table import age
from recorderd.protocol.client import DEFAULT_SOCKET
from recorderd.protocol.printable import printable

_PROPERTIES = "ActiveState,SubState,Result,ExecMainStatus,NRestarts,StatusText"


def describe(socket_path: str) -> str:
    lines = ["CANNOT TELL: recorderd does not answer"]
    if socket_path == DEFAULT_SOCKET:
        lines.append(_unit())
    return "\n".join([*lines, _disk(Path(f"{socket_path}.disk"))]) + "\n"


def _disk(word: Path) -> str:
    """Of the ring that the daemon had in use when it last started: it leaves a link to it beside its socket."""
    try:
        ring = word.readlink()
    except OSError:
        return f"disk: not known; no recorderd has run with this socket since {word.parent} was made"
    return _newest(ring)


def _unit() -> str:
    try:
        shown = subprocess.run(
            ["systemctl", "show", "--property", _PROPERTIES, "recorderd.service"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "systemd: not asked (systemctl cannot be run)"
    values = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
    if shown.returncode or not values.get("ActiveState"):
        return "systemd: not running here"
    words = f"systemd: {values['ActiveState']} ({values.get('SubState', '')}), {values.get('NRestarts', '0')} restarts"
    if values.get("ExecMainStatus") == "78":
        words += "; the configuration cannot be read: recorderd --check-config says why"
    elif values.get("Result") not in ("success", None):
        words += f"; last end: {printable(values['Result'])}; journalctl -u recorderd says more"
    return words


def _newest(ring: Path) -> str:
    """The age of the last write to any slot. The ring preallocates its files, so their times are all that moves."""
    try:
        newest = max((slot.stat().st_mtime for slot in (ring / "slots").glob("*/*.mp4")), default=None)
    except OSError as error:
        return f"disk: {ring} cannot be read: {error.strerror}"
    if newest is None:
        return f"disk: no ring at {printable(str(ring))}"
    return f"disk: {printable(str(ring))} was last written {age(round((time.time() - newest) * 1000))} ago"
