"""A change of the network that undoes itself unless someone who can still get in confirms it.

Life of a change:

    preview    wish -> faults, plan
    apply      generation staged -> `pending` written -> timer armed -> steps, units -> token
    confirm    token right, login younger than the change -> generation confirmed, timer disarmed
    undone     a step failed, the deadline passed, `rollback`, a reboot: the guard restores, whoever is still alive

There is one way back and it is the guard's, also where this process could do it: so it is exercised every time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from recorderd.model.network import NetworkWish
from recorderd.model.ports import Clock
from recorderd.network import filter as packet_filter
from recorderd.network import isolation
from recorderd.network.check import Fault, faults
from recorderd.network.execute import Executor, StepFailed
from recorderd.network.generations import Damaged, Generations, Pending, boot_id
from recorderd.network.goal import NOTHING, Goal, goal_of
from recorderd.network.login import Login
from recorderd.network.observed import Observed
from recorderd.network.plan import Impossible, Plan, plan
from recorderd.network.services import FILES
from recorderd.network.undo import UndoTimer
from recorderd.network.units import UnitFailed, Units
from recorderd.network.written import generation

log = logging.getLogger(__name__)

CONFIRM_MIN_S, CONFIRM_MAX_S, CONFIRM_DEFAULT_S = 10, 3600, 60
TOKEN_BYTES = 5  # typed by hand; three wrong ones undo the change
WRONG_TOKENS_MAX = 3
STEPS_MAX_S = 60  # what the steps and units of one change may take
RESTORE_ATTEMPTS = 3
CONFIRM_SLACK_S = 2  # a confirmation this close to the deadline is refused rather than raced


class Refused(Exception):
    """A request that changes nothing; `code` is a stable word for programs, the text one line for people."""

    def __init__(self, code: str, line: str) -> None:
        super().__init__(line)
        self.code = code


class Undone(Exception):
    """The change failed and the former network stands again; one line."""


class ServicePlan(Protocol):
    """The units a wish needs and the files they read (DHCP, NTP)."""

    def __call__(self, wish: NetworkWish, *, uplink_mac: str) -> tuple[tuple[str, ...], dict[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that now awaits its confirmation."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]
    token: str
    confirm_within_s: int


@dataclass(frozen=True, slots=True)
class Preview:
    plan: Plan
    goal: Goal
    observed: Observed
    formerly: Goal
    former_ruleset: str
    units: tuple[str, ...]
    files: dict[str, str]
    restarted: tuple[str, ...]  # units whose files change
    stopped: tuple[str, ...]  # units that are no longer needed

    def lines(self) -> tuple[str, ...]:
        """What would be done, one line each."""
        return (
            *(f"stop {unit}" for unit in self.stopped),
            *self.plan.lines(),
            *(f"start {unit} with its new configuration" for unit in self.restarted),
        )


class Transactions:
    """One change at a time."""

    def __init__(
        self,
        *,
        generations: Generations,
        executor: Executor,
        undo: UndoTimer,
        units: Units,
        services: ServicePlan,
        clock: Clock,
        login_of: Callable[[int], Login | None],
    ) -> None:
        self._generations = generations
        self._executor = executor
        self._undo = undo
        self._units = units
        self._services = services
        self._clock = clock
        self._login_of = login_of
        self._one = asyncio.Lock()
        self._running: set[asyncio.Task[Applied]] = set()
        self._wrong_tokens = 0

    def confirmed_wish(self) -> NetworkWish | None:
        """What was last confirmed; None before the first time."""
        return self.wish_of(self._generations.confirmed())

    def wish_of(self, number: int | None) -> NetworkWish | None:
        text = self._generations.read(number, "wish.json") if number is not None else None
        if text is None:
            return None
        try:
            return msgspec.json.decode(text, type=NetworkWish)
        except msgspec.DecodeError as error:
            raise Damaged(f"generation {number}: wish.json: {error}") from error

    def pending(self) -> Pending | None:
        return self._generations.pending()

    def unsettled(self) -> bool:
        """A change awaits confirmation or is being undone: nobody else may touch the network now."""
        return self._generations.pending() is not None or self._generations.undoing()

    async def preview(self, wish: NetworkWish) -> Preview:
        """The plan that `apply` would carry out. Raises `Refused`."""
        found: tuple[Fault, ...] = faults(wish)
        if found:
            raise Refused(
                "invalid", "; ".join(map(str, found[:5])) + (f" (and {len(found) - 5} more)" if found[5:] else "")
            )
        former = self.confirmed_wish()
        former_ruleset = isolation.ruleset(former) if former is not None else ""
        observed = await self._executor.observe()
        mac = _uplink_mac(wish, observed)
        formerly = NOTHING
        if former is not None:
            formerly = goal_of(former, former_ruleset, _uplink_mac(former, observed))
        goal = goal_of(wish, isolation.ruleset(wish), mac)
        try:
            change = plan(goal, observed, formerly=formerly, table_differs=table_differs(goal, observed))
        except Impossible as error:
            raise Refused("impossible", str(error)) from error
        units, files = self._services(wish, uplink_mac=mac)
        before = self._generations.confirmed() or 0
        former_units = (self._generations.read(before, "units") or "").split()
        changed = {name for name, text in files.items() if text != self._generations.read(before, name)}
        return Preview(
            change,
            goal,
            observed,
            formerly,
            former_ruleset,
            units,
            files,
            restarted=tuple(unit for unit in units if unit not in former_units or changed & set(FILES.get(unit, ()))),
            stopped=tuple(unit for unit in former_units if unit not in units),
        )

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[bool]:
        """Within, no change begins. False: one is on its way or awaits its confirmation, and nothing may be touched."""
        if self._one.locked():
            yield False
            return
        async with self._one:
            yield not self.unsettled()

    def finish_confirmation(self) -> None:
        """After a start: a confirmation that was taken but not carried to its end counts, if it was in this boot."""
        self._generations.finish_taken(boot_id())

    def release(self) -> bool:
        """Hands the network back to whoever comes next. False: it was not ours."""
        if self._generations.confirmed() is None:
            return False
        self._generations.release()
        return True

    async def apply(self, wish: NetworkWish, *, confirm_within_s: int = CONFIRM_DEFAULT_S) -> Applied:
        """Carries out what leads to `wish`. Raises `Refused` (nothing done) or `Undone` (undone again).

        Once begun it goes on to its end though the caller goes away: the change may be what cuts the caller off.
        """
        task = asyncio.create_task(self._apply(wish, confirm_within_s))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Applied]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("network: %s", error)

    async def _apply(self, wish: NetworkWish, confirm_within_s: int) -> Applied:
        if not CONFIRM_MIN_S <= confirm_within_s <= CONFIRM_MAX_S:
            raise Refused(
                "invalid", f"the time to confirm is {CONFIRM_MIN_S} to {CONFIRM_MAX_S} seconds, not {confirm_within_s}"
            )
        async with self._one:
            if self.unsettled():
                raise Refused("pending", "another change awaits its confirmation: confirm it or roll it back first")
            seen = await self.preview(wish)
            number = await asyncio.to_thread(
                self._generations.stage,
                generation(
                    wish,
                    seen.goal,
                    seen.plan,
                    seen.observed,
                    former_ruleset=seen.former_ruleset,
                    units=seen.units,
                    services=seen.files,
                ),
            )
            former = self._generations.confirmed() or 0
            token = secrets.token_hex(TOKEN_BYTES)
            # Until the steps are done the deadline lies far enough ahead that the guard cannot act while it is written again below.
            pending = self._pending(number, former, token, confirm_within_s + 2 * STEPS_MAX_S)
            await asyncio.to_thread(self._generations.arm, pending)
            try:
                await self._undo.arm()
            except UnitFailed as error:
                await asyncio.to_thread(self._generations.abandon)
                raise Refused(
                    "no-undo", f"nothing was changed, because the undo timer cannot be armed: {error}"
                ) from error
            self._wrong_tokens = 0
            try:
                async with asyncio.timeout(STEPS_MAX_S):
                    await self._carry_out(seen, number)
            except (StepFailed, UnitFailed, TimeoutError) as error:
                await self._restore(pending)
                why = str(error) or f"not done within {STEPS_MAX_S} s"
                raise Undone(f"{why}; the former network stands again") from error
            # The time to confirm begins now, not when the steps began.
            pending = self._pending(number, former, token, confirm_within_s)
            await asyncio.to_thread(self._generations.arm, pending)
            log.info("network: %d steps done, undone in %d s unless confirmed", len(seen.plan.steps), confirm_within_s)
            return Applied(seen.lines(), seen.plan.notes, token, confirm_within_s)

    async def confirm(self, token: str, pid: int) -> None:
        """`pid` is the process that asks (SO_PEERCRED). Raises `Refused`; after three wrong tokens the change is undone."""
        async with self._one:
            pending = self._generations.pending()
            if pending is None:
                raise Refused("nothing-pending", "no change awaits confirmation (it may have been undone already)")
            if not hmac.compare_digest(_digest(token), pending.token_digest):
                self._wrong_tokens += 1
                if self._wrong_tokens >= WRONG_TOKENS_MAX:
                    await self._restore(pending)
                    raise Refused("wrong-token", "wrong token for the third time: the former network stands again")
                raise Refused("wrong-token", "this is not the token that `net apply` printed")
            login = self._login_of(pid)
            if login is None or not (login.console or login.began_s > pending.changed_s):
                raise Refused("old-login", "confirm from a login made after the change: open a new SSH connection")
            if self._now_s() > pending.deadline_s - CONFIRM_SLACK_S or not await asyncio.to_thread(
                self._generations.take
            ):
                raise Refused("too-late", "the time to confirm is over: the former network is being restored")
            await asyncio.to_thread(self._generations.confirm, pending.new)
            log.info("network: change confirmed")
            try:
                await self._undo.disarm()
            except UnitFailed as error:
                log.warning("network: %s (harmless: nothing is pending)", error)

    async def rollback(self) -> None:
        """Restores the former network at once. Raises `Refused` where nothing is pending."""
        async with self._one:
            pending = self._generations.pending()
            if pending is None:
                raise Refused("nothing-pending", "no change awaits confirmation: there is nothing to roll back")
            await self._restore(pending)

    async def _carry_out(self, seen: Preview, number: int) -> None:
        for unit in seen.stopped:
            await self._units.stop(unit)
        for step in seen.plan.steps:
            await self._executor.carry_out(step)
        await asyncio.to_thread(self._generations.activate, number)
        for unit in seen.units:
            if unit in seen.restarted:
                await self._units.restart(unit)
            else:
                await self._units.start(unit)

    async def _restore(self, pending: Pending) -> None:
        """The guard does it; with the deadline set to the past it does it now."""
        try:
            await asyncio.to_thread(self._generations.arm, replace(pending, deadline_s=0))
            for _ in range(RESTORE_ATTEMPTS):
                await self._undo.run_now()
                if not self.unsettled():
                    break  # else we joined a run of the timer's that had begun before the deadline was moved
            else:
                raise UnitFailed("it left the change standing")
        except (UnitFailed, OSError) as error:
            raise Undone(
                f"the guard could not be run now ({error}): it restores the former network at the deadline"
            ) from error
        log.warning("network: the former network stands again")

    def _pending(self, new: int, former: int, token: str, within_s: int) -> Pending:
        now_s = self._now_s()
        return Pending(boot_id(), int(now_s) + within_s, now_s, former, new, _digest(token))

    def _now_s(self) -> float:
        return self._clock.boottime_ns() / 1e9


def _uplink_mac(wish: NetworkWish, observed: Observed) -> str:
    link = observed.link(wish.uplink.interface) if wish.uplink is not None else None
    return link.mac if link is not None else ""


def table_differs(goal: Goal, observed: Observed) -> bool:
    """Whether the packet filter that stands is another than the one wanted."""
    wanted = packet_filter.canonical(json.loads(goal.ruleset)) if goal.ruleset else None
    return wanted != observed.table


def _digest(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()
