"""Time for drivers and simulated chips that nobody waits for."""

from __future__ import annotations


class SimulatedPace:
    """`hw.poe.pace.Pace` that advances by what is slept."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
