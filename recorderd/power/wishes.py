"""What is wanted of each port: the operator's stored settings, schedules, trials and cycles under way."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

import msgspec

from hw.boards.board import Port
from hw.poe.vocabulary import Priority
from recorderd.model.ports import Clock
from recorderd.model.timeline import Trust
from recorderd.power.memory import Keeper, PortWish
from recorderd.power.schedules import OffWindow, off_now

_S = 1_000_000_000


class UnknownPort(Exception):
    """No port has this label."""


class Wishes:
    """Only `store` writes; trials and cycles live in memory, so that a restart ends them with the port on."""

    def __init__(
        self, *, ports: Mapping[str, Port], keeper: Keeper, clock: Clock, zone: Callable[[], datetime.tzinfo]
    ) -> None:
        self._ports = ports
        self._keeper = keeper
        self._clock = clock
        self._zone = zone
        self._trials: dict[str, int] = {}  # switched off until then, unless confirmed
        self._cycles: dict[str, str] = {}  # port: why

    async def load(self) -> None:
        await self._keeper.load()

    def of(self, label: str) -> PortWish:
        """The stored settings. Raises `UnknownPort`."""
        if label not in self._ports:
            raise UnknownPort(label)
        return self._keeper.record.wishes.get(label, PortWish())

    async def store(self, label: str, wish: PortWish) -> None:
        """Raises `UnknownPort`, `NotStored`; then nothing has changed."""
        self.of(label)
        await self._keeper.update(lambda record: msgspec.structs.replace(record, wishes={**record.wishes, label: wish}))

    def priority(self, label: str, wish: PortWish | None = None) -> Priority:
        chosen = (wish or self.of(label)).priority
        return Priority(chosen) if chosen is not None else Priority[self._ports[label].priority.upper()]

    def limit_mw(self, label: str, wish: PortWish | None = None) -> int:
        """The most the port may get: as set, else as the board allows."""
        chosen = (wish or self.of(label)).limit_mw
        return round(self._ports[label].max_w * 1_000) if chosen is None else chosen

    def why_off(self, label: str) -> str:
        """Why the port is not wanted on now; '' when it is."""
        wish = self.of(label)
        if not wish.admin:
            return "switched off by the operator"
        if label in self._cycles:
            return self._cycles[label]
        if label in self._trials:
            return "switched off on trial"
        window = self._off_by_schedule(wish)
        return f"off by schedule ({window})" if window is not None else ""

    def keeps_share(self, label: str) -> bool:
        """Off for a moment only: what is set aside for the port stays so."""
        return label in self._trials or label in self._cycles

    def _off_by_schedule(self, wish: PortWish) -> OffWindow | None:
        """None without a clock that can be relied on: a camera too many is better than a night without pictures."""
        if not wish.off or self._clock.trust() is Trust.NONE:
            return None
        return off_now(wish.off, datetime.datetime.fromtimestamp(self._clock.realtime_ns() / _S, self._zone()))

    # --- trials and cycles

    def begin_trial(self, label: str, seconds: float) -> None:
        self.of(label)
        self._trials[label] = self._clock.boottime_ns() + round(seconds * _S)

    def end_trial(self, label: str) -> None:
        self._trials.pop(label, None)

    def expire(self, now_ns: int) -> int:
        """Drops trials that are over; when the next one will be, 0: none."""
        self._trials = {label: until for label, until in self._trials.items() if now_ns < until}
        return min(self._trials.values(), default=0)

    def begin_cycle(self, label: str, reason: str) -> bool:
        """False: one is under way already."""
        self.of(label)
        if label in self._cycles:
            return False
        self._cycles[label] = reason
        return True

    def end_cycle(self, label: str) -> None:
        del self._cycles[label]

    def cycling(self, label: str) -> bool:
        return label in self._cycles
