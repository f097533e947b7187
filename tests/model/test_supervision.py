"""Supervision: what is expected is retried with growing delays, what is not ends the task."""

from __future__ import annotations

import random

import pytest

from recorderd.model.supervision import Backoff, supervise
from tests.simulated_time import FakeClock, run_simulated


def test_delays_grow_and_start_anew_after_a_healthy_run() -> None:
    waits: list[float] = []

    async def main(clock: FakeClock) -> None:
        lasts = iter([0, 0, 0, 0, 0, 100, 0, None])

        async def run() -> None:
            last = next(lasts)
            if last is None:
                return
            await clock.sleep(last)
            raise ConnectionError

        rules = Backoff(first_s=1, most_s=8, factor=2, jitter=0.0, healthy_s=30)
        await supervise(
            run,
            expected=(OSError,),
            on_failure=lambda _, wait: waits.append(wait),
            clock=clock,
            backoff=rules,
            chance=random.Random(1),
        )

    run_simulated(main)
    assert waits == [1, 2, 4, 8, 8, 1, 2]


def test_a_bug_is_not_retried() -> None:
    async def main(clock: FakeClock) -> None:
        async def run() -> None:
            raise KeyError("bug")

        await supervise(run, expected=(OSError,), on_failure=lambda *_: None, clock=clock)

    with pytest.raises(KeyError):
        run_simulated(main)
