"""PD692x0: golden frames bit for bit, and the driver over I2C and UART through every state and fault of the simulated controller."""

from __future__ import annotations

import pytest

from hw.poe.controller import ControllerReading
from hw.poe.errors import BusFailed, Rejected, WrongChip
from hw.poe.i2c import Retrying
from hw.poe.line import SerialLine
from hw.poe.pace import SystemPace
from hw.poe.pd692x0 import Pd692x0, mode_for, state_of
from hw.poe.pd692x0_frames import (
    BadFrame,
    Key,
    Measurements,
    PowerBank,
    Subject,
    build,
    parse,
)
from hw.poe.pd692x0_link import I2cCarrier, LineCarrier
from hw.poe.vocabulary import Fault, PortState, Priority
from hw.sim.i2c_adapter import InProcessI2c, SimulatedI2c
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.pd692x0_mcu import Pd692x0Mcu
from hw.sim.pse.serial_peer import InProcessLine, PtyPeer
from tests.hw.simulated_pace import SimulatedPace

ENABLE_POED = bytes((0x05, 0xC0, 3, 0xF1, 0xFF, 0xFF, 0x00, 0xFF))
GOLDEN = [
    (Key.COMMAND, 0x00, "07 55 00 55 00 55", "00 00 07 55 00 55 00 55 4e 4e 4e 4e 4e 02 8c"),
    (Key.COMMAND, 0x01, "07 55 00 55 00 55", "00 01 07 55 00 55 00 55 4e 4e 4e 4e 4e 02 8d"),
    (Key.REQUEST, 0x01, Subject.BT_SYSTEM_STATUS, "02 01 07 d0 4e 4e 4e 4e 4e 4e 4e 4e 4e 03 98"),
    (Key.REQUEST, 0x02, Subject.VERSION, "02 02 07 1e 21 4e 4e 4e 4e 4e 4e 4e 4e 02 ba"),
    (Key.COMMAND, 0x03, "05 c0 03 01 ff ff ff", "00 03 05 c0 03 01 ff ff ff 4e 4e 4e 4e 05 01"),
    (Key.COMMAND, 0x03, ENABLE_POED, "00 03 05 c0 03 f1 ff ff 00 ff 4e 4e 4e 05 a3"),
    (Key.COMMAND, 0x04, "05 c0 03 00 ff ff ff", "00 04 05 c0 03 00 ff ff ff 4e 4e 4e 4e 05 01"),
    (Key.COMMAND, 0x05, "05 c0 03 0f ff ff ff 01", "00 05 05 c0 03 0f ff ff ff 01 4e 4e 4e 04 c4"),
    (Key.COMMAND, 0x0F, "05 c0 03 0f ff 02 00", "00 0f 05 c0 03 0f ff 02 00 4e 4e 4e 4e 03 1f"),
    (Key.REQUEST, 0x06, Subject.STATUS + b"\x03", "02 06 05 c1 03 4e 4e 4e 4e 4e 4e 4e 4e 03 41"),
    (Key.REQUEST, 0x07, Subject.CLASS + b"\x03", "02 07 05 c4 03 4e 4e 4e 4e 4e 4e 4e 4e 03 45"),
    (Key.REQUEST, 0x08, Subject.MEASUREMENTS + b"\x03", "02 08 05 c5 03 4e 4e 4e 4e 4e 4e 4e 4e 03 47"),
    (Key.REQUEST, 0x09, Subject.TOTAL_POWER, "02 09 07 0b 60 4e 4e 4e 4e 4e 4e 4e 4e 02 ed"),
    (Key.PROGRAM, 0x0C, Subject.SAVE, "01 0c 06 0f 4e 4e 4e 4e 4e 4e 4e 4e 4e 02 e0"),
]


@pytest.mark.parametrize(("key", "echo", "words", "expected"), GOLDEN)
def test_golden_frames(key: Key, echo: int, words: str | bytes, expected: str) -> None:
    raw = bytes.fromhex(words) if isinstance(words, str) else words
    assert build(key, echo, raw) == bytes.fromhex(expected)
    assert parse(bytes.fromhex(expected))[:2] == (key, echo)


def test_golden_power_bank_and_answers() -> None:
    bank = PowerBank.build({"power": 120, "maximum": 585, "minimum": 400, "guard": 5})
    expected = bytes.fromhex("00 0a 07 0b 57 0f 00 78 02 49 01 90 05 01 db")
    assert build(Key.COMMAND, 0x0A, Subject.POWER_BANK + b"\x0f" + bank) == expected
    measured = parse(bytes.fromhex("03 08 02 1c 00 78 00 41 4e 02 1b 4e 4e 01 e9"))
    values = Measurements.parse(measured.data)
    assert (values.main_voltage, values.current, values.power, values.port_voltage) == (540, 120, 65, 539)
    for raw, key in (
        ("52 03 00 00 4e 4e 4e 4e 4e 4e 4e 4e 4e 03 13", Key.REPORT),
        ("52 03 ff ff ff ff 4e 4e 4e 4e 4e 4e 4e 06 73", Key.REPORT),
        ("03 ff 00 00 4e 4e 4e 4e 4e 4e 4e 4e 4e 03 c0", Key.TELEMETRY),
    ):
        assert parse(bytes.fromhex(raw)).key == key
    with pytest.raises(BadFrame):
        parse(bytes.fromhex("52 03 00 00 4e 4e 4e 4e 4e 4e 4e 4e 4e 03 14"))
    with pytest.raises(BadFrame):
        parse(b"\x52\x03")


def test_power_above_25_w_is_read_whole() -> None:
    """A driver that shifts by four instead of eight reads 64.0 W here as something else."""
    frame = build(Key.TELEMETRY, 1, bytes.fromhex("021c 0500 0280 4e 021b"))
    assert Measurements.parse(parse(frame).data).power == 640


class Bench:
    """A simulated controller with its driver, over I2C or a line."""

    def __init__(self, kind: str, **mcu: int) -> None:
        self.pace = SimulatedPace()
        self.supply = Supply()
        self.mcu = Pd692x0Mcu(now=self.pace.monotonic, supply=self.supply, **mcu)  # type: ignore[arg-type]
        self.line = None
        if kind == "i2c":
            self.adapter = SimulatedI2c()
            self.adapter.messages[0x3C] = self.mcu
            chip = Retrying(InProcessI2c(self.adapter), 0x3C, pace=self.pace, name="PD692x0")
            carrier: I2cCarrier | LineCarrier = I2cCarrier(chip=chip, pace=self.pace)
        else:
            self.line = InProcessLine(self.mcu.answer, request_bytes=15, sleep=self.pace.sleep)
            carrier = LineCarrier(line=self.line, pace=self.pace)
        self.driver = Pd692x0(carrier=carrier, pace=self.pace, channels=8)

    def after(self, seconds: float = 1.0) -> ControllerReading:
        self.pace.sleep(seconds)
        return self.driver.read()


@pytest.fixture(params=["i2c", "uart"])
def bench(request: pytest.FixtureRequest) -> Bench:
    made = Bench(request.param)
    made.driver.open()
    return made


def test_identity_and_totals(bench: Bench) -> None:
    identity = bench.driver.open()
    assert (identity.chip, identity.firmware) == ("PD69200", "3.55")
    reading = bench.after()
    assert (reading.budget_mw, reading.supply_mv) == (120_000, 54_000)


def test_a_device_is_powered_by_the_controller_and_measured(bench: Bench) -> None:
    bench.mcu.plug(2, Load(pd_class=4, draw_mw=28_400))
    reading = bench.after()
    port = reading.ports[2]
    assert port.delivering
    assert (port.pd_class, port.power_mw, port.allocated_mw) == (4, 28_400, 30_000)
    assert port.current_ma == pytest.approx(28_400 / 53.9, abs=3)
    assert reading.consumed_mw == 28_000
    bench.mcu.unplug(2)
    gone = bench.after(0.1)
    assert [(f.channel, f.fault) for f in gone.faults] == [(2, Fault.MPS_ABSENT)]
    assert bench.after().ports[2].state is PortState.SEARCHING


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"draw_mw": 60_000.0}, Fault.OVERLOAD), ({"shorted": True}, Fault.SHORT)],
)
def test_faults_of_a_running_port(bench: Bench, change: dict[str, object], fault: Fault) -> None:
    load = Load()
    bench.mcu.plug(0, load)
    assert bench.after().ports[0].delivering
    for name, value in change.items():
        setattr(load, name, value)
    reading = bench.after(0.1)
    assert [(f.channel, f.fault) for f in reading.faults] == [(0, fault)]
    assert (reading.ports[0].state, reading.ports[0].fault) == (PortState.FAULT, fault)
    assert not bench.after(0.1).faults, "told once"


def test_no_room_is_denied_and_priority_takes_it(bench: Bench) -> None:
    for port in range(4):
        bench.mcu.plug(port, Load(pd_class=4, draw_mw=20_000))
    reading = bench.after(2)
    assert [p.state for p in reading.ports[:4]] == [PortState.DELIVERING] * 3 + [PortState.DENIED]
    bench.driver.set_priority(3, Priority.CRITICAL)
    assert bench.after().ports[3].delivering
    assert sum(p.delivering for p in bench.after().ports) == 3


def test_admin_off_and_on_keeps_every_other_parameter(bench: Bench) -> None:
    bench.driver.set_limit(1, 31_500)
    bench.driver.set_priority(1, Priority.HIGH)
    bench.mcu.plug(1, Load(pd_class=4))
    assert bench.after().ports[1].delivering
    bench.driver.set_admin(1, on=False)
    assert bench.after().ports[1].state is PortState.DISABLED
    bench.driver.set_admin(1, on=True)
    reading = bench.after(2).ports[1]
    assert reading.delivering and reading.limit_mw == 31_500
    port = bench.mcu.ports[1]
    assert (port.mode, port.added, port.priority) == (2, 15, 2)


@pytest.mark.parametrize(
    "fault",
    ["not_ready", "bad_checksum", "stale", "lost_byte", "lost", "doubled", "telemetry_before", "refuse_checksum"],
)
def test_each_damage_of_the_link_is_survived(bench: Bench, fault: str) -> None:
    bench.mcu.plug(0, Load())
    bench.after()
    for _ in range(5):
        setattr(bench.mcu.faults, fault, 1)
        reading = bench.after()
        assert reading.ports[0].delivering
        assert reading.ports[0].power_mw == 4_000
    assert reading.link.failures == 0


def test_a_controller_that_stops_answering_fails_fast_and_comes_back(bench: Bench) -> None:
    bench.mcu.faults.lost = 1_000
    with pytest.raises(BusFailed, match="no answer"):
        bench.driver.read()
    before = bench.pace.now
    with pytest.raises(BusFailed, match="left silent"):
        bench.driver.read()
    assert bench.pace.now == before, "the line is left alone, the caller is not kept waiting"
    bench.mcu.faults.lost = 0
    assert bench.after(11).ports[0].state is PortState.SEARCHING


def test_a_restart_of_the_controller_is_noticed() -> None:
    bench = Bench("uart")
    bench.driver.open()
    assert bench.line is not None
    bench.mcu.restart()
    bench.line.push(bytes.fromhex("03 ff 00 00 4e 4e 4e 4e 4e 4e 4e 4e 4e 03 c0"))
    assert [(f.channel, f.fault) for f in bench.after().faults] == [(-1, Fault.HARDWARE)]


@pytest.mark.parametrize(("product", "match"), [(22, "before BT"), (99, "product 99")])
def test_other_firmware_is_refused(product: int, match: str) -> None:
    with pytest.raises(WrongChip, match=match):
        Bench("i2c", product=product).driver.open()


def test_a_refused_command_says_so(bench: Bench) -> None:
    bench.mcu.count = 4
    with pytest.raises(Rejected):
        bench.driver._change(6, enable=True)


def test_nothing_is_saved_in_the_chip_unless_asked(bench: Bench) -> None:
    bench.driver.set_admin(0, on=False)
    bench.driver.set_limit(0, 15_000)
    assert bench.mcu.saves == 0
    bench.driver.save()
    assert bench.mcu.saves == 1


def test_the_budget_of_the_board_is_written_only_when_it_differs() -> None:
    bench = Bench("i2c")
    for _ in range(2):
        carrier = I2cCarrier(
            chip=Retrying(InProcessI2c(bench.adapter), 0x3C, pace=bench.pace, name="x"), pace=bench.pace
        )
        Pd692x0(carrier=carrier, pace=bench.pace, channels=8, budget_mw=200_000, guard_mw=8_000).open()
    writes = [w for w in bench.mcu.writes if w[0] == 0 and w[2:5] == b"\x07\x0b\x57"]
    assert len(writes) == 1
    assert (bench.mcu.bank_w, bench.mcu.guard_w) == (200, 8)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (4_000, (3, 0, 15_000)),
        (15_400, (3, 4, 15_400)),
        (18_100, (3, 31, 18_100)),
        (18_200, (2, 0, 30_000)),
        (97_500, (0, 75, 97_500)),
    ],
)
def test_limits(limit: int, expected: tuple[int, int, int]) -> None:
    assert mode_for(limit) == expected


def test_every_documented_status_has_its_state() -> None:
    states = {code: state_of(code)[0] for code in range(256)}
    assert {c for c, s in states.items() if s is PortState.DELIVERING} == set(range(0x80, 0xA0))
    assert {c for c, s in states.items() if s is PortState.DENIED} == {0x20, 0x3C, 0x3D, 0x41}
    assert {c for c, s in states.items() if s is PortState.DISABLED} == {0x08, 0x0C, 0x1A}
    assert states[0x1B] is states[0x22] is states[0xA8] is PortState.SEARCHING


@pytest.mark.parametrize("break_it", [None, "bad_checksum"])
def test_over_a_pseudo_terminal_with_pyserial(break_it: str | None) -> None:
    mcu = Pd692x0Mcu(now=SystemPace().monotonic, supply=Supply())
    mcu.plug(0, Load())
    mcu.ports[0].ready_at = 0
    peer = PtyPeer(mcu.answer, request_bytes=15)
    try:
        line = SerialLine(peer.path, baud=19_200)
        pace = SystemPace()
        driver = Pd692x0(carrier=LineCarrier(line=line, pace=pace), pace=pace, channels=2)
        assert driver.open().chip == "PD69200"
        if break_it:
            setattr(mcu.faults, break_it, 1)
        assert driver.read().ports[0].delivering
        line.close()
    finally:
        peer.close()
