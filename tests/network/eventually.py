"""Waiting for what a kernel or another process brings about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(true: Callable[[], bool], within_s: float = 5.0) -> float:
    """Waits for something the kernel brings about; how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, "it never happened"
        await asyncio.sleep(0.01)
    return time.monotonic() - began
