"""A cage for workers that only compute: no files, no network, no processes, bounded memory and time; what is open stays usable.

The kernel's seccomp filter allows a handful of system calls and ends the process at any other (seccomp(2)). Where the machine is neither
x86-64 nor aarch64, or the kernel has no seccomp, the resource limits alone remain; `enter` says which it was.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW = 0x7FFF_0000
_RET_KILL_PROCESS = 0x8000_0000
_LD_W_ABS, _JEQ_K, _JGE_K, _RET_K = 0x20, 0x15, 0x35, 0x06
_AT_NUMBER, _AT_ARCH = 0, 4
_X32_BIT = 0x4000_0000

# audit architecture, and the numbers of: read, write, close, mmap, munmap, mprotect, mremap, madvise, brk, futex, rt_sigaction,
# rt_sigprocmask, rt_sigreturn, clock_gettime, getrandom, exit, exit_group (asm/unistd.h of each)
_ARCHITECTURES: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000_003E, (0, 1, 3, 9, 11, 10, 25, 28, 12, 202, 13, 14, 15, 228, 318, 60, 231)),
    "aarch64": (0xC000_00B7, (63, 64, 57, 222, 215, 226, 216, 233, 214, 98, 134, 135, 139, 113, 278, 93, 94)),
}


def enter(*, memory_bytes: int, cpu_s: int) -> bool:
    """Closes the cage for the rest of the process's life. True with the system call filter, False with limits alone."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    known = _ARCHITECTURES.get(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    if known is None or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return _filter(libc, *known)


def _filter(libc: ctypes.CDLL, architecture: int, allowed: tuple[int, ...]) -> bool:
    """A BPF program: the wrong architecture or an unlisted number ends the process."""
    count = len(allowed)
    program = [
        (_LD_W_ABS, 0, 0, _AT_ARCH),
        (_JEQ_K, 1, 0, architecture),
        (_RET_K, 0, 0, _RET_KILL_PROCESS),
        (_LD_W_ABS, 0, 0, _AT_NUMBER),
        (_JGE_K, count, 0, _X32_BIT),
        *((_JEQ_K, count - i, 0, number) for i, number in enumerate(allowed)),
        (_RET_K, 0, 0, _RET_KILL_PROCESS),
        (_RET_K, 0, 0, _RET_ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))
    header = struct.pack("@HxxxxxxP", len(program), ctypes.addressof(code))
    head = ctypes.create_string_buffer(header)
    done: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(head), 0, 0)
    return done == 0
