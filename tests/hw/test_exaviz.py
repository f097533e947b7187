"""Exaviz boards: the lines as documented, and the driver on a simulated board, a pipe-like file and a pseudo-terminal."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hw.poe.controller import ControllerReading
from hw.poe.errors import BusFailed, BusMissing, NoAnswer, NotSupported
from hw.poe.exaviz import Exaviz
from hw.poe.exaviz_text import BoardLine, PortLine, VersionLine, parse_line
from hw.poe.line import SerialLine
from hw.poe.pace import SystemPace
from hw.poe.text_source import LineText, ProcFile
from hw.poe.vocabulary import Fault, PortState
from hw.sim.pse.exaviz_board import ExavizBoard, InProcessText
from hw.sim.pse.load import Load, Supply
from tests.hw.simulated_pace import SimulatedPace

CRUISER_PLACES = tuple((board, port) for board in (1, 0) for port in range(4))


def test_documented_lines() -> None:
    port = parse_line("0-0: power-on 0 15.50 47.9375 0.05950/0.80000 33.1250/150.0000")
    assert port == PortLine(0, 0, PortState.DELIVERING, 0, 15_500, 47_938, 60, 800, 33.125, "")
    assert isinstance(port, PortLine)
    assert port.power_mw == pytest.approx(2_852, abs=30), "what flows, not what the class is allocated"
    assert parse_line("0: 47.8750/40.0000-60.0000 0.05250/2.50000 15.50/120") == BoardLine(
        0, 47_875, 52, 15_500, 120_000
    )
    assert parse_line("ip808ar version 1.2") == VersionLine("1.2")


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("1-3: disabled 0 0 0 0/0.8 30 0", PortState.DISABLED),
        ("1-3: backoff 0 0 0 0/0.8 30 0", PortState.BACKOFF),
        ("1-3: warming-up 0 0 0 0/0.8 30 0", PortState.UNKNOWN),
        ("1-3: power-on 4 30.00 53.1 0.4/0.8 41.5 0 and more columns", PortState.DELIVERING),
    ],
)
def test_tolerant_where_it_may_be(line: str, state: PortState) -> None:
    found = parse_line(line)
    assert isinstance(found, PortLine)
    assert found.state is state


@pytest.mark.parametrize(
    "line", ["", "0-0: power-on 0 15.50 47", "0-0:", "garbage", "9" * 500, "\x1b[31m0-0", "0-0: power-on 0 nan 1 1 1"]
)
def test_cut_and_foreign_lines_are_nothing(line: str) -> None:
    assert parse_line(line) is None


class Bench:
    def __init__(self, style: str) -> None:
        self.pace = SimulatedPace()
        places = CRUISER_PLACES if style == "cruiser" else tuple((0, p) for p in range(8))
        self.board = ExavizBoard(now=self.pace.monotonic, supply=Supply(), style=style, places=places)
        self.source = InProcessText(self.board, sleep=self.pace.sleep)
        self.driver = Exaviz(source=self.source, ports=places, name=style, asks_version=style == "cruiser")

    def after(self, seconds: float = 1.0) -> ControllerReading:
        self.pace.sleep(seconds)
        return self.driver.read()


@pytest.fixture(params=["interceptor", "cruiser"])
def bench(request: pytest.FixtureRequest) -> Bench:
    made = Bench(request.param)
    made.driver.open()
    return made


def test_ports_states_and_commands(bench: Bench) -> None:
    bench.board.plug(0, Load(pd_class=3, draw_mw=6_000))
    bench.board.plug(5, Load(pd_class=4, draw_mw=20_000))
    reading = bench.after(2)
    first, last = reading.ports[0], reading.ports[5]
    assert first.delivering and last.delivering
    assert first.power_mw == pytest.approx(6_000, rel=0.01)
    assert (last.pd_class, last.allocated_mw) == (4, 30_000)
    assert reading.supply_mv == pytest.approx(54_000, rel=0.01)
    bench.driver.set_admin(5, on=False)
    assert bench.after().ports[5].state is PortState.DISABLED
    board, port = bench.board.places[5]
    assert bench.board.commands[-1] == f"disable-port {board} {port}"
    bench.driver.set_admin(5, on=True)
    assert bench.after(2).ports[5].delivering
    assert not [c for c in bench.board.commands if c.startswith("reset")]


def test_faults_and_unplugging(bench: Bench) -> None:
    load = Load()
    bench.board.plug(2, load)
    bench.after(2)
    load.draw_mw = 60_000
    reading = bench.after(0.1)
    assert [(f.channel, f.fault) for f in reading.faults] == [(2, Fault.OVERLOAD)]
    bench.board.unplug(2)
    bench.board.plug(3, Load())
    bench.after(2)
    bench.board.unplug(3)
    assert (3, Fault.MPS_ABSENT) in [(f.channel, f.fault) for f in bench.after(0.1).faults]


def test_a_round_cut_off_leaves_the_rest_unknown_or_unchanged(bench: Bench) -> None:
    bench.board.plug(0, Load())
    bench.after(2)
    bench.source.cut = 150
    assert bench.after().ports[0].delivering


def test_a_mute_board_is_an_error_in_bounded_time(bench: Bench) -> None:
    bench.source.mute = True
    before = bench.pace.now
    with pytest.raises(BusFailed, match="no line about a port"):
        bench.driver.read()
    assert bench.pace.now - before < 4
    with pytest.raises(NoAnswer):
        bench.driver.open()


def test_what_the_board_cannot_do_it_says(bench: Bench) -> None:
    with pytest.raises(NotSupported):
        bench.driver.set_limit(0, 10_000)


def test_interceptor_file_streams_and_is_never_read_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "pse"
    os.mkfifo(path)
    board = ExavizBoard(now=SystemPace().monotonic, supply=Supply())
    stop = threading.Event()

    def stream() -> None:
        descriptor = os.open(path, os.O_RDWR)
        while not stop.wait(0.02):
            os.write(descriptor, board.text().encode())
        os.close(descriptor)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        driver = Exaviz(source=ProcFile(str(path), pace=SystemPace()), ports=board.places, name="Interceptor")
        assert driver.open().firmware == "1.2"
        assert len(driver.read().ports) == 8
    finally:
        stop.set()
        thread.join()
    with pytest.raises(BusMissing, match="not on this machine"):
        Exaviz(source=ProcFile(str(tmp_path / "no"), pace=SystemPace()), ports=((0, 0),), name="Interceptor").open()


def test_cruiser_over_a_pseudo_terminal() -> None:
    master, slave = os.openpty()
    board = ExavizBoard(now=SystemPace().monotonic, supply=Supply(), style="cruiser", places=CRUISER_PLACES)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.05):
            os.write(master, board.text().encode())

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        line = SerialLine(os.ttyname(slave), baud=115_200)
        driver = Exaviz(source=LineText(line, pace=SystemPace()), ports=CRUISER_PLACES, name="Cruiser")
        driver.open()
        assert [p.state for p in driver.read().ports] == [PortState.SEARCHING] * 8
        driver.close()
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)
