"""Runs system programs: by absolute path, without a shell, with a bare environment, within a time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
MAX_OUTPUT = 4 << 20


class ProgramMissing(Exception):
    """The program is not installed."""


class ProgramFailed(Exception):
    """It ended with an error; `code` and its own words."""

    def __init__(self, name: str, code: int, words: str) -> None:
        last = words.strip().splitlines()[-1:] or [f"exit code {code}"]
        super().__init__(f"{name}: {last[0][:300]}")
        self.code = code
        self.words = words


def find(name: str) -> str:
    """The absolute path of a program. Raises ProgramMissing."""
    for folder in _FOLDERS:
        path = Path(folder, name)
        if os.access(path, os.X_OK):
            return str(path)
    raise ProgramMissing(f"{name} is not installed")


def run(name: str, *arguments: str, timeout_s: float = 60.0, good: Sequence[int] = (0,)) -> str:
    """Standard output and error of a program. Raises ProgramMissing, ProgramFailed, also when it takes too long."""
    code, words = run_for_code(name, *arguments, timeout_s=timeout_s)
    if code not in good:
        raise ProgramFailed(name, code, words)
    return words


def run_for_code(name: str, *arguments: str, timeout_s: float = 60.0) -> tuple[int, str]:
    """(exit code, output). Raises ProgramMissing, ProgramFailed when it takes too long."""
    try:
        done = subprocess.run(
            [find(name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(name, -1, f"not done after {timeout_s:.0f} s") from None
    return done.returncode, done.stdout[:MAX_OUTPUT].decode("utf-8", "replace")
