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
from recorderd.ingest.sweep import PERIOD_S
from recorderd.model.ports import Clock

log = logging.getLogger(__name__)
BUDGET_MS = 20  # no callback of the loop may take longer
_REMEMBERED = round(60 / PERIOD_S)  # sweeps: a minute


class Service(NamedTuple):
    """A part with a task of its own that runs until it is cancelled."""

    name: str
    run: Callable[[], Coroutine[None, None, None]]


class Vital(Protocol):
    """A part whose standstill is worth a restart."""

    def stuck(self) -> str | None: ...


class LoopProbe:
    """How late the loop runs its timers, as the sweep notes it ten times a second."""

    def __init__(self) -> None:
        self._late_ms: deque[float] = deque(maxlen=_REMEMBERED)
        self._overruns = 0

    def note(self, late_ns: int) -> None:
        late_ms = late_ns / 1e6
        self._late_ms.append(late_ms)
        if late_ms > BUDGET_MS:
            self._overruns += 1

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
