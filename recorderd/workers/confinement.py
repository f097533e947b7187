"""What a worker gives up before it looks at any input: priority, memory, descriptors, privileges, and life without its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x2008_0522
_MAX_DESCRIPTORS = 64


def confine(*, memory_bytes: int, cpu_s: int, parent: int) -> None:
    """Limits this process for good. `parent` is the daemon's process id: if it is gone already, this one ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in (
        (_PR_SET_PDEATHSIG, int(signal.SIGKILL)),
        (_PR_SET_NO_NEW_PRIVS, 1),
        (_PR_SET_DUMPABLE, 0),
        (_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL),
    ):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    # The unit gives the daemon CAP_NET_ADMIN as an ambient capability, which children inherit (capset(2)).
    if libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    if os.getppid() != parent:
        raise SystemExit("the daemon is gone")
    limits = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _MAX_DESCRIPTORS,
    }
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    os.nice(10)
