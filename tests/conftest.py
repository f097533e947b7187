"""What holds for every test."""

from __future__ import annotations

import compileall
import signal
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    # A run in the background of a shell is told to ignore SIGINT, and so would be the programs that tests start and end with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests start hundreds of daemons, workers and command lines. Where PYTHONDONTWRITEBYTECODE is set, each would compile its modules
    # anew, which takes longer than all else it does. A tree that cannot be written to is no error.
    for folder in ("recorderd", "hw"):
        compileall.compile_dir(ROOT / folder, quiet=2)
