"""PSE microcontrollers of both generations: golden frames, every state, every damage of the line."""

from __future__ import annotations

import pytest

from hw.poe.controller import ControllerReading
from hw.poe.errors import BusFailed, BusMissing, Rejected, WrongChip
from hw.poe.line import SerialLine
from hw.poe.pace import SystemPace
from hw.poe.realtek_mcu import RealtekMcu
from hw.poe.realtek_mcu_frames import OPCODES, BadFrame, Budget, Function, build, parse
from hw.poe.vocabulary import Fault, PortState, Priority
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.realtek_mcu_peer import RealtekPeer
from hw.sim.pse.serial_peer import InProcessLine, PtyPeer
from tests.hw.simulated_pace import SimulatedPace

GOLDEN = [
    (1, Function.SYSTEM, 1, "", "20 01 ff ff ff ff ff ff ff ff ff 18"),
    (1, Function.ENABLE, 2, "03 01", "00 02 03 01 ff ff ff ff ff ff ff ff"),
    (1, Function.ENABLE, 3, "03 00", "00 03 03 00 ff ff ff ff ff ff ff ff"),
    (1, Function.STATUS_OF_FOUR, 4, "00", "28 04 00 ff ff ff ff ff ff ff ff 24"),
    (1, Function.PORT_POWER, 5, "03", "30 05 03 ff ff ff ff ff ff ff ff 30"),
    (1, Function.POWER, 6, "", "23 06 ff ff ff ff ff ff ff ff ff 20"),
    (2, Function.ENABLE, 8, "03 01", "01 08 03 01 ff ff ff ff ff ff ff 06"),
    (2, Function.SYSTEM, 9, "", "40 09 ff ff ff ff ff ff ff ff ff 40"),
    (2, Function.STATUS_OF_FOUR, 10, "00", "43 0a 00 ff ff ff ff ff ff ff ff 45"),
]


@pytest.mark.parametrize(("generation", "function", "sequence", "payload", "expected"), GOLDEN)
def test_golden_frames(generation: int, function: Function, sequence: int, payload: str, expected: str) -> None:
    opcode = OPCODES[function][generation - 1]
    assert build(opcode, sequence, bytes.fromhex(payload)) == bytes.fromhex(expected)
    assert parse(bytes.fromhex(expected))[:2] == (opcode, sequence)


def test_golden_budget_and_bad_frames() -> None:
    payload = Budget.build({"pse": 0, "budget": 1_200, "guard": 120})
    assert build(0x18, 7, payload) == bytes.fromhex("18 07 00 04 b0 00 78 ff ff ff ff 47")
    for bad in ("18 07 00 04 b0 00 78 ff ff ff ff 48", "18 07"):
        with pytest.raises(BadFrame):
            parse(bytes.fromhex(bad))


class Bench:
    def __init__(self, peer: int, **driver: int) -> None:
        self.pace = SimulatedPace()
        self.peer = RealtekPeer(now=self.pace.monotonic, supply=Supply(), generation=peer)
        self.line = InProcessLine(self.peer.answer, request_bytes=12, sleep=self.pace.sleep)
        self.driver = RealtekMcu(line=self.line, pace=self.pace, channels=8, **driver)  # type: ignore[arg-type]

    def after(self, seconds: float = 1.0) -> ControllerReading:
        self.pace.sleep(seconds)
        return self.driver.read()


@pytest.fixture(params=[1, 2])
def bench(request: pytest.FixtureRequest) -> Bench:
    made = Bench(request.param)
    made.driver.open()
    return made


def test_the_generation_is_found_out(bench: Bench) -> None:
    assert bench.driver.open().chip == {1: "BCM59121", 2: "RTL8238B"}[bench.peer.generation]
    with pytest.raises((WrongChip, BusFailed)):
        Bench(bench.peer.generation, generation=3 - bench.peer.generation).driver.open()


def test_every_state_is_read(bench: Bench) -> None:
    bench.peer.plug(0, Load(pd_class=4, draw_mw=18_300))
    bench.peer.plug(1, Load(class_overcurrent=True))
    bench.driver.set_admin(2, on=False)
    reading = bench.after()
    assert [p.state for p in reading.ports[:4]] == [
        PortState.DELIVERING,
        PortState.OTHER_FAULT,
        PortState.DISABLED,
        PortState.SEARCHING,
    ]
    first = reading.ports[0]
    assert (first.pd_class, first.power_mw, first.allocated_mw) == (4, 18_300, 30_000)
    assert first.voltage_mv == pytest.approx(54_000, abs=70)
    assert first.current_ma == pytest.approx(18_300 / 54, abs=2)
    assert (reading.budget_mw, reading.consumed_mw) == (120_000, 18_300)
    assert [(f.channel, f.fault) for f in reading.faults] == [(1, Fault.HARDWARE)]


def test_overload_unplug_and_denial(bench: Bench) -> None:
    load = Load(pd_class=3)
    bench.peer.plug(0, load)
    bench.after()
    load.draw_mw = 30_000
    assert [(f.channel, f.fault) for f in bench.after(0.1).faults] == [(0, Fault.OVERLOAD)]
    bench.peer.unplug(0)
    bench.peer.plug(1, Load())
    bench.after()
    bench.peer.unplug(1)
    assert (1, Fault.MPS_ABSENT) in [(f.channel, f.fault) for f in bench.after(0.1).faults]
    for port in range(4):
        bench.peer.plug(port, Load(pd_class=4))
    assert [p.state for p in bench.after().ports[:4]] == [PortState.DELIVERING] * 3 + [PortState.DENIED]


def test_settings_reach_the_controller(bench: Bench) -> None:
    bench.driver.set_limit(3, 9_900)
    bench.driver.set_priority(3, Priority.CRITICAL)
    assert (bench.peer.ports[3].limit, bench.peer.ports[3].priority) == (49, 3)
    bench.peer.plug(3, Load())
    assert bench.after().ports[3].limit_mw == 9_800
    with pytest.raises(Rejected):
        bench.driver.set_admin(20, on=True)


@pytest.mark.parametrize(
    "fault", ["not_ready", "bad_checksum", "stale", "lost", "lost_byte", "doubled", "claims_checksum"]
)
def test_each_damage_of_the_line_is_survived(bench: Bench, fault: str) -> None:
    bench.peer.plug(0, Load())
    before = bench.after().link.failures
    for _ in range(5):
        setattr(bench.peer.faults, fault, 1)
        reading = bench.after()
        assert reading.ports[0].delivering and reading.ports[0].power_mw == 4_000
    assert reading.link.failures == before


def test_a_storm_of_not_ready_is_an_error_in_bounded_time(bench: Bench) -> None:
    bench.peer.faults.not_ready = 1_000
    before = bench.pace.now
    with pytest.raises(BusFailed, match="not ready"):
        bench.driver.read()
    assert bench.pace.now - before < 3
    bench.peer.faults.not_ready = 0
    assert bench.after().ports[0].state is PortState.SEARCHING


def test_noise_before_the_answer_is_stepped_over(bench: Bench) -> None:
    bench.line.push(b"\x00\x13\xff noise")
    assert bench.after().ports[0].state is PortState.SEARCHING


def test_sequence_numbers_are_never_0_or_the_fill_byte(bench: Bench) -> None:
    for _ in range(120):
        bench.driver.read()
    sequences = {request[1] for request in bench.peer.requests}
    assert sequences == set(range(1, 0xFF))


def test_over_a_pseudo_terminal_and_when_it_goes_away() -> None:
    pace = SystemPace()
    peer = RealtekPeer(now=pace.monotonic, supply=Supply(), generation=2)
    pty = PtyPeer(peer.answer, request_bytes=12)
    line = SerialLine(pty.path, baud=19_200)
    driver = RealtekMcu(line=line, pace=pace, channels=8, generation=2)
    assert driver.open().chip == "RTL8238B"
    assert len(driver.read().ports) == 8
    with pytest.raises(Exception, match=pty.path):
        SerialLine(pty.path, baud=19_200)
    pty.close()
    with pytest.raises(BusMissing, match="lost"):
        driver.read()
    line.close()


def test_a_line_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(BusMissing, match="/dev/ttyNOPE: not on this machine"):
        SerialLine("/dev/ttyNOPE", baud=19_200)
