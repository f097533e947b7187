"""What can be said of the recorder while its daemon does not answer: from systemd and from the files on the disk."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from recorderd.ctl.table import age
from recorderd.protocol.printable import printable

_PROPERTIES = "ActiveState,SubState,Result,ExecMainStatus,NRestarts,StatusText"
_RING = Path("/srv/recorderd")


def describe(ring: Path = _RING) -> str:
    return "\n".join(["CANNOT TELL: recorderd does not answer", _unit(), _newest(ring)]) + "\n"


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
        return f"disk: no ring at {ring}"
    return f"disk: last written {age(round((time.time() - newest) * 1000))} ago"
