"""What a run costs the machine: processor time, memory, system calls, what reached the disk."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def tasks() -> dict[str, int]:
    """CPU nanoseconds of every thread of the machine, the kernel's own among them, from the scheduler.

    /proc/stat says what the clock's ticks happened to interrupt: passes of 3 ms that a timer starts lie between its ticks, and were
    seen there for a quarter of what they take.
    """
    found = {}
    for path in Path("/proc").glob("[0-9]*/task/*/schedstat"):
        try:
            found[str(path)] = int(path.read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def grown_s(before: dict[str, int]) -> float:
    """CPU seconds of all threads together since `before` was taken; of those that ended meanwhile nothing is known."""
    return sum(now - before.get(thread, 0) for thread, now in tasks().items()) / 1e9


def tree(pid: int) -> list[int]:
    """A process and all its descendants that live."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        try:
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(current)
    return found


def processes_s(pids: list[int]) -> float:
    """CPU seconds of all threads of these processes and their descendants, from the scheduler (nanoseconds underneath)."""
    total = 0
    for pid in {member for root in pids for member in tree(root)}:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(stat.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total / 1e9


def pss_bytes(pids: list[int]) -> int:
    """Proportional set size of these processes and their descendants (smaps_rollup)."""
    total = 0
    for pid in {member for root in pids for member in tree(root)}:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        total += int(match[1]) * 1024 if match else 0
    return total


class SystemCalls:
    """Counts the system calls of processes with perf; `per_s` is None where perf cannot."""

    def __init__(self, pids: list[int]) -> None:
        self.per_s: float | None = None
        self._process: subprocess.Popen[str] | None = None
        if shutil.which("perf"):
            everyone = ",".join(str(member) for pid in pids for member in tree(pid))
            command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", everyone]
            self._process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def stop(self, seconds: float) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        said = self._process.communicate(timeout=20)[1]
        for line in said.splitlines():
            if "raw_syscalls" in line and line.split(",")[0].isdecimal():
                self.per_s = int(line.split(",")[0]) / seconds


def kernel_threads() -> dict[int, int]:
    """CPU nanoseconds of every kernel thread: write-back, journals, loop devices, soft interrupts that did not fit elsewhere."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == 2:  # a child of kthreadd
                found[int(folder.name)] = int((folder / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@dataclass
class Cost:
    """Of one window, in CPU seconds: the whole machine, the recorder's own processes, the cameras' process, the kernel's threads."""

    seconds: float = 0.0
    busy_s: float = 0.0
    own_s: float = 0.0
    cameras_s: float = 0.0
    kernel_s: float = 0.0
    pss_bytes: int = 0
    syscalls_per_s: float | None = None

    @property
    def strangers(self) -> float:
        """Cores that something else on this machine kept busy meanwhile."""
        return max(0.0, self.busy_s - self.own_s - self.cameras_s - self.kernel_s) / self.seconds


@contextmanager
def measured(own: list[int], cameras: list[int]) -> Iterator[Cost]:
    """Measures the body of the `with`, which lets the time pass."""
    cost, calls = Cost(), SystemCalls(own)
    began, everyone, mine, theirs = time.monotonic(), tasks(), processes_s(own), processes_s(cameras)
    kernel = kernel_threads()
    yield cost
    cost.seconds = time.monotonic() - began
    cost.busy_s = grown_s(everyone)
    cost.kernel_s = sum(now - kernel.get(pid, 0) for pid, now in kernel_threads().items()) / 1e9
    cost.own_s, cost.cameras_s = processes_s(own) - mine, processes_s(cameras) - theirs
    cost.pss_bytes = pss_bytes(own)
    calls.stop(cost.seconds)
    cost.syscalls_per_s = calls.per_s
