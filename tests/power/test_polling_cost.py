"""What a poll costs, counted: hand-overs to the bus's thread, transfers, decisions. Seconds depend on the machine, these do not."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import pytest

from hw.boards.assembly import assemble
from hw.boards.board import Board, Bus, Port, Pse
from hw.boards.loader import load
from hw.poe.bus_thread import BusThread, InlineBus
from hw.sim.pse.load import Load
from recorderd.power import service as power_service
from recorderd.power.decisions import Memory, PortInput, Step, SupplyInput
from tests.power.simulated_power import ClockPace, rig, running
from tests.simulated_time import FakeClock, run_simulated

T = TypeVar("T")
POLLS = 20


class CountingBus(InlineBus):
    """Runs on the loop, and counts how often a real bus would have woken its thread."""

    hand_overs = 0

    async def call(self, operation: Callable[[], T], *, limit_s: float = 5.0) -> T:
        self.hand_overs += 1
        return await super().call(operation, limit_s=limit_s)


@dataclass(frozen=True)
class Cost:
    """Per second, of the whole board. `transfers` are the bus's own for I2C, the driver's exchanges otherwise."""

    hand_overs: float
    transfers: float
    decisions: float


def _simulated(name: str) -> Board:
    board = load(name)
    pse = tuple(
        msgspec.structs.replace(p, bus=msgspec.structs.replace(p.bus, kind="simulated", name="", node="", path=""))
        for p in board.pse
    )
    return msgspec.structs.replace(board, pse=pse, simulated=())


def _many(driver: str, chips: int, channels: int) -> Board:
    pse = tuple(
        Pse(id=f"pse{i}", driver=driver, bus=Bus(kind="simulated", address=0x20 + channels // 4 * i))
        for i in range(chips)
    )
    port = tuple(
        Port(label=str(1 + channels * i + c), pse=f"pse{i}", channel=c) for i in range(chips) for c in range(channels)
    )
    return Board(name=f"{chips} of {driver}", pse=pse, port=port)


def _cost(board: Board, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """Once every port has its camera, each of which draws a little more or less all the time."""
    decided = 0
    step = power_service.step

    def counted(memory: Memory, ports: list[PortInput], supply: SupplyInput, now_ns: int) -> Step:
        nonlocal decided
        decided += 1
        return step(memory, ports, supply, now_ns)

    monkeypatch.setattr(power_service, "step", counted)

    async def main(clock: FakeClock) -> Cost:
        assembly = assemble(board, pace=ClockPace(clock), inline=True)
        buses: dict[str, CountingBus] = {}
        assembly = replace(
            assembly,
            controllers=tuple(
                replace(p, runner=buses.setdefault(p.runner.name, CountingBus(p.runner.name)))
                for p in assembly.controllers
            ),
        )
        made = rig(clock, board, assembly=assembly)
        for number, port in enumerate(board.port):
            made.simulation.plug(
                port.label, Load(pd_class=1, draw_mw=lambda s, n=number: 2_000 + 90 * math.sin(5 * s + n))
            )

        def seen() -> tuple[int, int, int, float]:
            on_i2c = any(p.driver.startswith("tps") for p in board.pse)
            exchanged = sum(c.link.transfers for c in made.service.status().controllers)
            return (
                sum(bus.hand_overs for bus in buses.values()),
                made.simulation.adapter.transfers if on_i2c else exchanged,
                decided,
                clock.boottime_ns() / 1e9,
            )

        async with running(made):
            await made.until(lambda: len(made.delivering()) == len(board.port), limit_s=120)
            await made.wait(10)
            before = seen()
            await made.wait(POLLS)
            after = seen()
        seconds = after[3] - before[3]
        return Cost(*(round((a - b) / seconds, 2) for a, b in zip(after[:3], before[:3], strict=True)))

    return run_simulated(main)


@pytest.mark.parametrize(
    ("board", "chips", "transfers_of_each"),
    [
        (_simulated("sim-4port"), 1, 3),
        (_simulated("sim-8port"), 2, 3),
        (_simulated("sim-16port"), 4, 3),
        (_simulated("generic-tps23861-i2c1"), 1, 3),
        (_many("tps2388x", 2, 8), 2, 6),
        (_many("tps23861", 10, 4), 10, 3),
    ],
    ids=lambda value: value.name if isinstance(value, Board) else str(value),
)
def test_the_chips_of_an_i2c_bus_are_read_together_by_blocks(
    board: Board, chips: int, transfers_of_each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(board.pse) == chips
    cost = _cost(board, monkeypatch)
    in_turn = -(-chips // 8)  # more would let an urgent switching wait too long
    polls = cost.hand_overs / in_turn
    assert 0.99 <= polls <= 1.2
    assert cost.transfers == pytest.approx(polls * chips * transfers_of_each, rel=0.03)
    assert cost.decisions <= cost.hand_overs * 1.03


@pytest.mark.parametrize(
    ("name", "fixed", "of_each_port"),
    [
        ("generic-pd69200-uart", 1, 2),  # totals; status and measurements
        ("generic-pd69200-i2c1", 1, 2),
        ("generic-realtek-mcu", 1, 1.25),  # totals; status of four, measurements
        ("exaviz-interceptor", 1, 0),  # the whole text is one exchange
        ("exaviz-cruiser", 1, 0),
    ],
)
def test_microcontrollers_are_read_in_one_hand_over_by_as_few_exchanges_as_their_frames_allow(
    name: str, fixed: int, of_each_port: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = _simulated(name)
    cost = _cost(board, monkeypatch)
    ports = min(8, len(board.port)) if "pd69200" in name else len(board.port)  # of many, eight at a time
    assert 0.3 <= cost.hand_overs <= 1.25
    assert cost.transfers == pytest.approx(cost.hand_overs * (fixed + of_each_port * ports), rel=0.03)
    assert cost.decisions == pytest.approx(cost.hand_overs, rel=0.03)


def test_a_hand_over_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bus = BusThread("test")
        loop = asyncio.get_running_loop()
        woken = 0
        wake = loop.call_soon_threadsafe

        def counted(*arguments: object, **context: object) -> asyncio.Handle:
            nonlocal woken
            woken += 1
            return wake(*arguments, **context)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        names = {await bus.call(lambda: threading.current_thread().name) for _ in range(POLLS)}
        assert names == {"bus test"}
        assert woken == POLLS
        bus.stop()

    asyncio.run(main())
