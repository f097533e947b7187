"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # A run in the background of a shell is told to ignore SIGINT, and so would be the programs that tests start and end with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
