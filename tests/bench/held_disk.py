"""A disk held to a given speed for this process and those it starts (cgroup v1 blkio or v2 io.max; root).

An image on a fast machine writes several GB/s, which no disk of a recorder does; what matters there is whether the ring keeps a disk busy
that is slower than the processor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/blkio")
_V2 = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def held(device: Path, bytes_per_s: int) -> Iterator[bool]:
    """Whether it could be done; else nothing is held."""
    number = device.stat().st_rdev
    which = f"{os.major(number)}:{os.minor(number)}"
    if (_V1 / "blkio.throttle.write_bps_device").exists():
        parent, file, line = _V1, "blkio.throttle.write_bps_device", f"{which} {bytes_per_s}"
    elif "io" in _words(_V2 / "cgroup.subtree_control"):
        parent, file, line = _V2, "io.max", f"{which} wbps={bytes_per_s}"
    else:
        yield False
        return
    group = parent / f"recorderd-bench-{os.getpid()}"
    home = parent / _own_group(parent) / "cgroup.procs"
    group.mkdir()
    try:
        (group / file).write_text(line)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield True
    finally:
        home.write_text(str(os.getpid()))
        group.rmdir()


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _own_group(parent: Path) -> str:
    """Where this process is now, below `parent` (cgroups(7): hierarchy, controllers, path)."""
    wanted = "blkio" if parent == _V1 else ""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(","):
            return path.lstrip("/")
    return ""
