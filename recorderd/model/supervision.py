"""One way to keep a peer's task alive: expected errors become state and a delay, everything else is a bug and ends the process."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from recorderd.model.ports import Clock


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow from `first_s` by `factor` up to `most_s`, each shortened by a random part of up to `jitter` of itself.

    A run that lasted `healthy_s` starts the series anew.
    """

    first_s: float = 1.0
    most_s: float = 60.0
    factor: float = 2.0
    jitter: float = 0.3
    healthy_s: float = 30.0


async def supervise(
    run: Callable[[], Awaitable[None]],
    *,
    expected: tuple[type[Exception], ...],
    on_failure: Callable[[Exception, float], None],
    clock: Clock,
    backoff: Backoff | None = None,
    chance: random.Random | None = None,
) -> None:
    """Runs `run` until it returns. After an `expected` error `on_failure(error, delay_s)` is told, and it runs again after the delay.

    CancelledError and errors that are not expected pass through.
    """
    rules = backoff or Backoff()
    roll = chance or random.Random()
    delay_s = rules.first_s
    while True:
        began_ns = clock.boottime_ns()
        try:
            await run()
            return
        except expected as error:
            if clock.boottime_ns() - began_ns >= rules.healthy_s * 1e9:
                delay_s = rules.first_s
            wait_s = delay_s * (1 - rules.jitter * roll.random())
            on_failure(error, wait_s)
        await clock.sleep(wait_s)
        delay_s = min(delay_s * rules.factor, rules.most_s)
