"""TPS2388x: eight channels, limits in half watts, and the firmware that some of them need."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.poe.controller import ControllerReading
from hw.poe.errors import PoeError, WrongChip
from hw.poe.tps2388x import Tps2388x
from hw.poe.vocabulary import Fault, PortState
from hw.sim.i2c_adapter import InProcessI2c, SimulatedI2c
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.tps2388x_chip import Tps2388xChip
from tests.hw.simulated_pace import SimulatedPace


class Bench:
    def __init__(
        self, device_id: int = 0x24, firmware: tuple[str, ...] = (), pairs: tuple[tuple[int, int], ...] = ()
    ) -> None:
        self.pace = SimulatedPace()
        self.chip = Tps2388xChip(now=self.pace.monotonic, supply=Supply(), device_id=device_id)
        self.adapter = SimulatedI2c()
        for i, half in enumerate(self.chip.halves):
            self.adapter.registers[0x20 + i] = half
        bus = InProcessI2c(self.adapter)
        self.driver = Tps2388x(bus=bus, address=0x20, pace=self.pace, firmware=firmware, pairs=pairs)

    def after(self, seconds: float = 1.0) -> ControllerReading:
        self.pace.sleep(seconds)
        return self.driver.read()


def _images(tmp_path: Path) -> tuple[str, str]:
    paths = (tmp_path / "parity.bin", tmp_path / "sram.bin")
    for path, byte in zip(paths, (b"\xaa", b"\x55"), strict=True):
        path.write_bytes(byte * 300)
    return str(paths[0]), str(paths[1])


def test_eight_channels_detect_classify_and_deliver() -> None:
    bench = Bench()
    assert bench.driver.open().chip == "TPS23881B"
    for channel in range(8):
        bench.driver.set_admin(channel, on=True)
        bench.chip.plug(channel, Load(pd_class=channel, draw_mw=3_000))
    reading = bench.after()
    assert [p.pd_class for p in reading.ports] == list(range(8))
    assert {p.state for p in reading.ports} == {PortState.REQUESTING}
    bench.driver.grant(6, 60_000)
    bench.driver.grant(1, 4_000)
    reading = bench.after()
    assert [p.channel for p in reading.ports if p.delivering] == [1, 6]
    assert reading.ports[6].power_mw == pytest.approx(3_000, rel=0.02)
    bench.driver.withdraw(6)
    assert not bench.after(0.1).ports[6].powered
    assert bench.after().ports[6].state is PortState.REQUESTING


@pytest.mark.parametrize(("limit", "register"), [(4_000, 8), (15_400, 31), (29_900, 60), (1_000, 4), (90_000, 127)])
def test_police_register_counts_half_watts(limit: int, register: int) -> None:
    bench = Bench()
    bench.driver.open()
    bench.driver.set_limit(2, limit)
    half = bench.chip.halves[0]
    assert half.read_register(0x20) == register
    assert half.read_register(0x40) & 0x04


def test_the_limit_is_policed() -> None:
    bench = Bench()
    bench.driver.open()
    load = Load(pd_class=3, draw_mw=6_000)
    bench.driver.set_admin(5, on=True)
    bench.chip.plug(5, load)
    bench.after()
    bench.driver.grant(5, 8_000)
    assert bench.after().ports[5].delivering
    load.draw_mw = 9_500
    bench.after(0.01)
    assert [(f.channel, f.fault, f.detail) for f in bench.after(0.1).faults] == [(5, Fault.OVERLOAD, "PCUT")]


def test_firmware_is_loaded_when_it_is_missing_and_only_then(tmp_path: Path) -> None:
    bench = Bench(0x22, _images(tmp_path))
    assert bench.driver.open().firmware == "SRAM 0x13"
    assert bytes(bench.chip.sram.parity) == b"\xaa" * 300
    assert bytes(bench.chip.sram.image) == b"\x55" * 300
    bench.driver.set_admin(0, on=True)
    bench.chip.plug(0, Load())
    assert bench.after().ports[0].state is PortState.REQUESTING
    bench.driver.grant(0, 15_400)
    assert bench.after().ports[0].delivering
    bench.driver.open()
    assert len(bench.chip.sram.image) == 300, "a running chip is left alone"
    assert bench.after().ports[0].delivering


def test_a_chip_that_runs_from_rom_is_never_loaded(tmp_path: Path) -> None:
    bench = Bench(0x24, _images(tmp_path))
    bench.driver.open()
    assert not bench.chip.sram.image


def test_without_images_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PoeError, match="name both under pse"):
        Bench(0x22).driver.open()
    with pytest.raises(PoeError, match=r"no\.bin: No such file"):
        Bench(0x22, (str(tmp_path / "no.bin"), str(tmp_path / "no.bin"))).driver.open()
    bench = Bench(0x22, _images(tmp_path))
    bench.chip.sram.accepts = False
    with pytest.raises(PoeError, match="refused the firmware images"):
        bench.driver.open()


def test_four_pair_ports_are_wired_and_other_chips_refused() -> None:
    bench = Bench(pairs=((0, 1), (6, 7)))
    bench.driver.open()
    assert [h.read_register(0x29) for h in bench.chip.halves] == [0x3F, 0xF3]
    with pytest.raises(WrongChip, match="device id 0x99"):
        Bench(0x99).driver.open()
