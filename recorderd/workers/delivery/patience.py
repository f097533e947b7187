"""Trying again: full-jitter exponential back-off, Retry-After honoured, and an end when nothing has worked for too long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from recorderd.protocol.delivery import Problem
from recorderd.workers.delivery.failure import Failure

T = TypeVar("T")
FIRST_S, LONGEST_S = 1.0, 60.0


class Patience:
    """`pause(reason, seconds)` waits and may raise to give up; `now` is a monotonic clock in seconds."""

    def __init__(
        self,
        patience_s: float,
        pause: Callable[[str, float], None],
        *,
        now: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._patience_s = patience_s
        self._pause = pause
        self._now = now
        self._jitter = jitter

    def until_done(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns. Raises its `Failure` at once where trying again is of no use, else when patience has ended."""
        began = self._now()
        longest = FIRST_S
        while True:
            try:
                return attempt()
            except Failure as failure:
                wait_s = max(failure.after_s, self._jitter(0.1, longest))
                if failure.problem is not Problem.PASSING or self._now() - began + wait_s > self._patience_s:
                    raise
                self._pause(failure.reason, wait_s)
            longest = min(LONGEST_S, longest * 2)
