"""Cages for workers that only compute: no files, no network, no processes; what is open stays usable.

The kernel's seccomp filter lets a short list of system calls through (seccomp(2)); what happens at any other is the cage's choice. Where
the machine is neither x86-64 nor aarch64, or the kernel has no seccomp, limits alone remain; what closes a cage says which it was.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import resource
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW = 0x7FFF_0000
_RET_KILL_PROCESS = 0x8000_0000
_RET_ERRNO = 0x0005_0000
_LD_W_ABS, _JEQ_K, _JGE_K, _RET_K = 0x20, 0x15, 0x35, 0x06
_AT_NUMBER, _AT_ARCH = 0, 4
_X32_BIT = 0x4000_0000
AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # linux/audit.h

# System calls by name: their numbers on x86-64 and on aarch64 (asm/unistd_64.h, asm-generic/unistd.h); None where there is none.
_COMPUTE: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "exit": (60, 93),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
_MEDIA = _COMPUTE | {
    "poll": (7, None),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "sendto": (44, 206),
    "recvmsg": (47, 212),
    "restart_syscall": (219, 128),
    "ppoll": (271, 73),
    "sync_file_range": (277, 84),
    "preadv": (295, 69),
    "preadv2": (327, 286),
}


@dataclass(frozen=True, slots=True)
class Cage:
    """`refuse` is the error that any other system call gets; without it the process is killed there and then."""

    allowed: dict[str, tuple[int | None, int | None]]
    refuse: int | None = None

    def numbers(self, machine: str) -> tuple[int, ...]:
        column = list(AUDIT_ARCH).index(machine)
        return tuple(number for pair in self.allowed.values() if (number := pair[column]) is not None)

    def program(self, machine: str) -> list[tuple[int, int, int, int]]:
        """The filter in BPF. A process of another architecture is killed in any case."""
        allowed = self.numbers(machine)
        count = len(allowed)
        otherwise = _RET_KILL_PROCESS if self.refuse is None else _RET_ERRNO | self.refuse
        return [
            (_LD_W_ABS, 0, 0, _AT_ARCH),
            (_JEQ_K, 1, 0, AUDIT_ARCH[machine]),
            (_RET_K, 0, 0, _RET_KILL_PROCESS),
            (_LD_W_ABS, 0, 0, _AT_NUMBER),
            (_JGE_K, count, 0, _X32_BIT),
            *((_JEQ_K, count - i, 0, number) for i, number in enumerate(allowed)),
            (_RET_K, 0, 0, otherwise),
            (_RET_K, 0, 0, _RET_ALLOW),
        ]

    def close(self) -> bool:
        """Around the calling thread, and those it will start, for good. False where there is no filter."""
        machine = platform.machine()
        libc = ctypes.CDLL(None, use_errno=True)
        if machine not in AUDIT_ARCH or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        program = self.program(machine)
        code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))
        header = struct.pack("@HxxxxxxP", len(program), ctypes.addressof(code))
        head = ctypes.create_string_buffer(header)
        done: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(head), 0, 0)
        return done == 0


# For a parser of what cameras send: reads a pipe, writes a pipe.
PARSER = Cage(_COMPUTE)
# For decoders and re-mux: reads slots, writes media, answers the daemon. Libraries may ask for more than they need (how many processors
# there are, whether a file exists) and do without; so they are refused, not killed.
MEDIA = Cage(_MEDIA, refuse=errno.EPERM)


def enter(*, memory_bytes: int, cpu_s: int) -> bool:
    """Closes the parser's cage, with limits, for the rest of the process's life. True with the filter, False with limits alone."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    return PARSER.close()
