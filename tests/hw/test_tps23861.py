"""TPS23861: encodings against published values, and the driver through every state and fault of the simulated chip."""

from __future__ import annotations

import errno

import pytest

from hw.poe.controller import ControllerReading, PortReading
from hw.poe.errors import BusFailed, BusOwned, NoAnswer, WrongChip
from hw.poe.tps23861 import Tps23861, resistance_ohm
from hw.poe.vocabulary import Detection, Fault, PortState
from hw.sim.i2c_adapter import InProcessI2c, SimulatedI2c
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.quad_chip import QuadChip
from hw.sim.pse.tps23861_chip import tps23861_chip
from tests.hw.simulated_pace import SimulatedPace


class Canned:
    """A bus that answers with fixed registers: what a real chip, or the kernel's i2c-stub, would hold."""

    def __init__(self, registers: dict[int, int]) -> None:
        self.registers = bytearray(256)
        for register, value in registers.items():
            self.registers[register] = value
        self.written: list[tuple[int, int]] = []

    def read_byte(self, address: int, register: int) -> int:
        return self.registers[register]

    def write_byte(self, address: int, register: int, value: int) -> None:
        self.written.append((register, value))

    def read_block(self, address: int, register: int, length: int) -> bytes:
        return bytes(self.registers[register : register + length])

    def write(self, address: int, data: bytes) -> None:
        raise AssertionError(data)

    def read(self, address: int, length: int) -> bytes:
        raise AssertionError(length)

    def close(self) -> None: ...


class Bench:
    """One simulated chip with its driver."""

    def __init__(self, **chip: bool | int) -> None:
        self.pace = SimulatedPace()
        self.supply = Supply()
        self.chip: QuadChip = tps23861_chip(now=self.pace.monotonic, supply=self.supply, **chip)  # type: ignore[arg-type]
        self.adapter = SimulatedI2c()
        self.adapter.registers[0x20] = self.chip
        self.driver = Tps23861(bus=InProcessI2c(self.adapter), address=0x20, pace=self.pace)

    def after(self, seconds: float) -> ControllerReading:
        self.pace.sleep(seconds)
        return self.driver.read()

    def port(self, channel: int, seconds: float = 1.0) -> PortReading:
        return self.after(seconds).ports[channel]

    def powered(self, channel: int, load: Load) -> PortReading:
        """Plugs, detects and grants."""
        self.driver.set_admin(channel, on=True)
        self.chip.plug(channel, load)
        assert self.port(channel).state is PortState.REQUESTING
        self.driver.grant(channel, 30_000 if load.pd_class == 4 else 15_400)
        return self.port(channel)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.driver.open()
    return made


# Values a kernel driver (drivers/hwmon/tps23861.c) decoded from the same register contents.
PUBLISHED = {
    0x1B: 0x50,
    0x43: 0xE3,
    0x2C: 0x64,  # 45.2 C
    0x2E: 0x9A,  # 0x399A: 54.000 V
    0x2F: 0x39,
    0x30: 0xAE,  # 0x07AE: 120 mA at 255 mOhm
    0x31: 0x07,
    0x32: 0x7F,  # 0x397F: 53.900 V
    0x33: 0x39,
    0x34: 0x00,  # 0x1000: 250 mA
    0x35: 0x10,
    0x36: 0x63,  # 0x3963: 53.798 V
    0x37: 0x39,
    0x0C: 0x34,
    0x0D: 0x44,
    0x0E: 0x64,
    0x0F: 0x06,
    0x10: 0x33,
    0x12: 0xAA,
    0x13: 0x0F,
    0x14: 0xFF,
}


def test_published_register_contents_read_as_the_kernel_reads_them() -> None:
    reading = Tps23861(bus=Canned(PUBLISHED), address=0x20, pace=SimulatedPace()).read()
    assert reading.temperature_c == pytest.approx(45.2, abs=0.01)
    assert reading.supply_mv in (53_999, 54_000)
    first, second, third, fourth = reading.ports
    assert (first.voltage_mv, first.current_ma) == (pytest.approx(53_900, abs=2), 120)
    assert (second.voltage_mv, second.current_ma) == (pytest.approx(53_798, abs=2), 250)
    assert second.power_mw == pytest.approx(53_798 * 250 / 1000, rel=1e-3)
    assert [p.pd_class for p in reading.ports] == [3, 4, 0, None]
    assert [p.state for p in reading.ports] == [
        PortState.DELIVERING,
        PortState.DELIVERING,
        PortState.REQUESTING,
        PortState.SEARCHING,
    ]
    assert fourth.detection is Detection.OPEN
    assert third.detection is Detection.VALID


@pytest.mark.parametrize(
    ("shunt", "raw", "milliamps"), [(255, 0x2666, 600), (250, 0x25A5, 600), (250, 0x0787, 120), (250, 0x0FAF, 250)]
)
def test_current_scale_follows_the_shunt(shunt: int, raw: int, milliamps: int) -> None:
    registers = {**PUBLISHED, 0x30: raw & 0xFF, 0x31: raw >> 8}
    driver = Tps23861(bus=Canned(registers), address=0x20, pace=SimulatedPace(), shunt_mohm=shunt)
    assert driver.read().ports[0].current_ma == milliamps


@pytest.mark.parametrize(("raw", "ohms"), [(0x08CD, 25_000), (0x8000, None), (0xC000, 0), (0x4000 | 0x0100, 4_025)])
def test_detection_resistance(raw: int, ohms: int | None) -> None:
    found = resistance_ohm(raw)
    assert found == ohms if ohms is None else found == pytest.approx(ohms, abs=6)


def test_simulated_chip_encodes_as_published() -> None:
    pace = SimulatedPace()
    supply = Supply(resistance_mohm=0)
    chip = tps23861_chip(now=pace.monotonic, supply=supply)
    chip.temperature_c = 45.2
    chip.plug(0, Load(draw_mw=53.9 * 120, inrush_ms=0.1))
    chip.write_register(0x12, 0x01)  # manual
    chip.write_register(0x19, 0x01)
    pace.sleep(0.01)
    word = lambda register: chip.read_register(register) | chip.read_register(register + 1) << 8  # noqa: E731
    assert (word(0x2E), word(0x32), word(0x30), chip.read_register(0x2C)) == (0x399A, 0x397F, 0x07AE, 0x64)
    assert word(0x60) == 0x08CD


def test_class_and_detection_are_read_before_power(bench: Bench) -> None:
    for channel, pd_class in enumerate((0, 1, 2, 4)):
        bench.driver.set_admin(channel, on=True)
        bench.chip.plug(channel, Load(pd_class=pd_class))
    reading = bench.after(1)
    assert [p.pd_class for p in reading.ports] == [0, 1, 2, 4]
    assert {p.state for p in reading.ports} == {PortState.REQUESTING}
    assert not any(bench.chip.powered(i) for i in range(4))
    assert bench.after(0.5).ports[0].resistance_ohm == pytest.approx(25_000, abs=6)


@pytest.mark.parametrize(
    ("load", "detection"),
    [
        (Load(resistance_ohm=1_000), Detection.SHORT),
        (Load(resistance_ohm=12_000), Detection.LOW),
        (Load(resistance_ohm=40_000), Detection.HIGH),
        (Load(capacitance_nf=10_000), Detection.CAPACITIVE),
        (None, Detection.OPEN),
    ],
)
def test_what_is_no_powered_device_gets_no_power(bench: Bench, load: Load | None, detection: Detection) -> None:
    bench.driver.set_admin(0, on=True)
    if load is not None:
        bench.chip.plug(0, load)
    reading = bench.port(0)
    assert (reading.state, reading.detection) == (PortState.SEARCHING, detection)
    bench.driver.grant(0, 15_400)
    assert not bench.port(0).powered


def test_a_granted_port_delivers_and_is_measured(bench: Bench) -> None:
    reading = bench.powered(0, Load(pd_class=3, draw_mw=6_400))
    assert reading.delivering
    assert reading.power_mw == pytest.approx(6_400, rel=0.01)
    assert reading.voltage_mv == pytest.approx(53_900, rel=0.01)


def test_unplugging_and_plugging_again_needs_a_new_grant(bench: Bench) -> None:
    bench.powered(1, Load())
    bench.chip.unplug(1)
    reading = bench.after(1)
    assert Fault.MPS_ABSENT in [f.fault for f in reading.faults]
    assert reading.ports[1].state is PortState.SEARCHING
    bench.chip.plug(1, Load(pd_class=2))
    bench.after(0.1)
    again = bench.port(1)
    assert (again.state, again.pd_class) == (PortState.REQUESTING, 2)


def test_overload_cuts_the_port_and_detection_goes_on(bench: Bench) -> None:
    load = Load(pd_class=3, draw_mw=5_000)
    bench.powered(2, load)
    load.draw_mw = 25_000  # 464 mA, policed at 374 mA
    bench.after(0.01)
    reading = bench.after(0.1)
    assert [(f.channel, f.fault) for f in reading.faults] == [(2, Fault.OVERLOAD)]
    assert not reading.ports[2].powered
    bench.driver.grant(2, 15_400)  # within the cool-down: without effect
    assert not bench.port(2, 0.3).powered
    load.draw_mw = 5_000
    assert bench.port(2, 2).state is PortState.REQUESTING


def test_class_4_may_draw_what_class_3_may_not(bench: Bench) -> None:
    reading = bench.powered(0, Load(pd_class=4, draw_mw=25_000))
    assert reading.delivering
    assert bench.port(0, 5).delivering


def test_short_circuit_and_long_inrush_are_told_apart(bench: Bench) -> None:
    load = Load()
    bench.powered(0, load)
    load.shorted = True
    bench.after(0.01)
    assert [f.fault for f in bench.after(0.1).faults] == [Fault.SHORT]
    bench.driver.set_admin(1, on=True)
    bench.chip.plug(1, Load(inrush_ms=200))
    bench.after(1)
    bench.driver.grant(1, 15_400)
    assert (1, Fault.INRUSH) in [(f.channel, f.fault) for f in bench.after(1).faults]


def test_class_overcurrent_is_a_fault_without_power(bench: Bench) -> None:
    bench.driver.set_admin(0, on=True)
    bench.chip.plug(0, Load(class_overcurrent=True))
    reading = bench.port(0)
    assert (reading.state, reading.fault) == (PortState.FAULT, Fault.CLASS_ERROR)


def test_over_temperature_and_supply_drop_switch_everything_off_and_say_so(bench: Bench) -> None:
    bench.powered(0, Load())
    bench.supply.drop_mv = 20_000
    reading = bench.after(0.1)
    assert (-1, Fault.SUPPLY_LOW) in [(f.channel, f.fault) for f in reading.faults]
    assert not reading.ports[0].powered
    bench.supply.drop_mv = 0
    bench.after(1)
    assert bench.port(0).state is PortState.REQUESTING
    bench.driver.grant(0, 15_400)
    assert bench.port(0).delivering
    bench.chip.over_temperature = True
    assert (-1, Fault.OVER_TEMPERATURE) in [(f.channel, f.fault) for f in bench.after(0.1).faults]


def test_a_chip_that_was_reset_is_configured_again(bench: Bench) -> None:
    bench.powered(0, Load())
    bench.chip.power_on_reset()
    reading = bench.after(0.1)
    assert (-1, Fault.HARDWARE) in [(f.channel, f.fault) for f in reading.faults]
    assert not reading.ports[0].admin
    bench.driver.set_admin(0, on=True)
    assert bench.port(0).state is PortState.REQUESTING


def test_running_ports_survive_the_start_and_the_stop_of_the_driver() -> None:
    bench = Bench(auto_strap=True)
    bench.chip.plug(0, Load())
    bench.chip.plug(3, Load(pd_class=4, draw_mw=12_000))
    bench.pace.sleep(2)
    assert bench.chip.powered(0) and bench.chip.powered(3)
    bench.driver.open()
    reading = bench.driver.read()
    assert [p.powered for p in reading.ports] == [True, False, False, True]
    bench.chip.plug(1, Load())
    assert bench.port(1).state is PortState.REQUESTING, "after the start it is the host that grants"
    bench.driver.close()
    bench.pace.sleep(5)
    assert bench.chip.powered(0) and bench.chip.powered(3)


def test_rules_of_the_data_sheet_are_kept(bench: Bench) -> None:
    for _ in range(3):
        bench.powered(0, Load(inrush_ms=55))
        bench.driver.withdraw(0)
        bench.after(0.6)
        bench.driver.grant(0, 15_400)
        bench.pace.sleep(0.41)
        bench.driver.set_admin(0, on=False)
        bench.after(0.1)
    assert bench.chip.misuse.early_detect_enable == 0
    assert bench.chip.misuse.cut_during_inrush == 0


def test_single_naks_are_retried_and_counted(bench: Bench) -> None:
    bench.adapter.nak_every = 7
    for _ in range(20):
        link = bench.after(1).link
    assert link.retries > 5
    assert link.failures == 0


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda a: a.registers.clear(), NoAnswer),
        (lambda a: setattr(a, "stuck", True), BusFailed),
        (lambda a: a.owned.add(0x20), BusOwned),
    ],
)
def test_a_broken_bus_is_a_typed_error_after_bounded_tries(
    bench: Bench, break_it: object, error: type[Exception]
) -> None:
    break_it(bench.adapter)  # type: ignore[operator]
    before = bench.adapter.transfers
    with pytest.raises(error):
        bench.driver.read()
    assert bench.adapter.transfers - before <= 3


def test_another_chip_is_refused() -> None:
    with pytest.raises(WrongChip, match="0x1b reads 0x55"):
        Tps23861(bus=Canned({0x1B: 0x55}), address=0x20, pace=SimulatedPace()).open()


def test_a_missing_chip_names_bus_and_address() -> None:
    class Nobody(Canned):
        def read_byte(self, address: int, register: int) -> int:
            raise OSError(errno.ENXIO, "No such device or address")

    with pytest.raises(NoAnswer, match="TPS23861 address 0x28: nothing answers"):
        Tps23861(bus=Nobody({}), address=0x28, pace=SimulatedPace()).open()
