"""Alive and recording are two answers; this file gives the first, to systemd's watchdog (design sections 3 and 10).

The watchdog is fed while the loop turns and no part says that it is stuck. Parts say so themselves: `Vital.stuck()` returns a reason when a
thread's oldest operation is over its limit and its device is not declared FAILED, or when data waits for a disk believed healthy and no
commit completes for 30 s. Nothing due is healthy.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple, Protocol

from recorderd.control.system import LoopHealth
from recorderd.daemon.systemd import Notifier
from recorderd.model.ports import Clock

log = logging.getLogger(__name__)
BUDGET_MS = 20  # no callback of the loop may take longer
_PROBE_S = 0.1


class Service(NamedTuple):
    """A part with a task of its own that runs until it is cancelled."""

    name: str
    run: Callable[[], Coroutine[None, None, None]]


class Vital(Protocol):
    """A part whose standstill is worth a restart."""

    def stuck(self) -> str | None: ...


class LoopProbe:
    """Measures how late the loop runs its timers."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._late_ms: deque[float] = deque(maxlen=600)
        self._overruns = 0

    async def run(self) -> None:
        while True:
            before_ns = self._clock.boottime_ns()
            await self._clock.sleep(_PROBE_S)
            late_ms = max(0.0, (self._clock.boottime_ns() - before_ns) / 1e6 - _PROBE_S * 1e3)
            self._late_ms.append(late_ms)
            self._overruns += late_ms > BUDGET_MS

    def health(self) -> LoopHealth:
        ordered = sorted(self._late_ms)
        if not ordered:
            return LoopHealth(0.0, 0)
        return LoopHealth(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], self._overruns)


async def feed(notifier: Notifier, period_s: float, vitals: Sequence[Vital], clock: Clock) -> None:
    """Feeds the watchdog every `period_s` as long as no part is stuck; says once why it stops."""
    said: str | None = None
    while True:
        reason = next((reason for vital in vitals if (reason := vital.stuck()) is not None), None)
        if reason is None:
            notifier.watchdog()
        elif reason != said:
            log.error("watchdog: not fed: %s", reason)
        said = reason
        await clock.sleep(period_s)
