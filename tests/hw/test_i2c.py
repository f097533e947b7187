"""The bus over smbus2, with the kernel's ioctl replaced by the simulated adapter; and the adapter's own faults."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import Any

import pytest
import smbus2.smbus2

from hw.poe.errors import BusMissing, BusOwned, NoAnswer
from hw.poe.i2c import Retrying, SmbusBus
from hw.poe.pd692x0 import Pd692x0
from hw.poe.pd692x0_link import I2cCarrier
from hw.poe.tps23861 import Tps23861
from hw.sim.i2c_adapter import READ, SMBUS_BLOCK, SMBUS_BYTE, SMBUS_BYTE_DATA, SMBUS_WORD_DATA, SimulatedI2c
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.pd692x0_mcu import Pd692x0Mcu
from hw.sim.pse.tps23861_chip import tps23861_chip
from tests.hw.simulated_pace import SimulatedPace

I2C_SLAVE, I2C_FUNCS, I2C_RDWR, I2C_SMBUS = 0x703, 0x705, 0x707, 0x720
_ALL_FUNCTIONS = 0x0EFF0009


class Kernel:
    """`ioctl` of `/dev/i2c-N` onto a simulated adapter."""

    def __init__(self, adapter: SimulatedI2c) -> None:
        self.adapter = adapter
        self.slave = 0
        self.transactions: list[list[tuple[int, int, int]]] = []  # (address, flags, length) of each I2C_RDWR

    def ioctl(self, descriptor: int, request: int, argument: Any = 0) -> int:
        if request == I2C_SLAVE:
            self.slave = argument
        elif request == I2C_FUNCS:
            argument.value = _ALL_FUNCTIONS
        elif request == I2C_SMBUS:
            self._smbus(argument)
        elif request == I2C_RDWR:
            self._rdwr(argument)
        return 0

    def _smbus(self, argument: Any) -> None:
        union = argument.data.contents
        size = argument.size
        data = bytes([union.byte]) if size == SMBUS_BYTE_DATA else bytes(union.block[:33])
        error, out = self.adapter.smbus(self.slave, argument.read_write, argument.command, size, data)
        if error:
            raise OSError(-error, "simulated")
        if argument.read_write == READ:
            ctypes.memmove(ctypes.addressof(union), out, len(out))

    def _rdwr(self, argument: Any) -> None:
        messages = []
        for i in range(argument.nmsgs):
            m = argument.msgs[i]
            messages.append((m.addr, m.flags, ctypes.string_at(m.buf, m.len)))
        self.transactions.append([(a, f, len(d)) for a, f, d in messages])
        error, out = self.adapter.rdwr(messages)
        if error:
            raise OSError(-error, "simulated")
        reads = [argument.msgs[i] for i in range(argument.nmsgs) if argument.msgs[i].flags & READ]
        for m, data in zip(reads, out, strict=True):
            ctypes.memmove(m.buf, data, len(data))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(SimulatedI2c())
    monkeypatch.setattr(smbus2.smbus2, "ioctl", made.ioctl)
    return made


@pytest.fixture
def node(tmp_path: Path) -> str:
    path = tmp_path / "i2c-1"
    path.write_bytes(b"")
    return str(path)


def test_tps23861_through_smbus2(kernel: Kernel, node: str) -> None:
    pace = SimulatedPace()
    chip = tps23861_chip(now=pace.monotonic, supply=Supply())
    kernel.adapter.registers[0x20] = chip
    bus = SmbusBus(node)
    driver = Tps23861(bus=bus, address=0x20, pace=pace)
    assert driver.open().chip == "TPS23861"
    driver.set_admin(0, on=True)
    chip.plug(0, Load(draw_mw=6_000))
    pace.sleep(1)
    driver.read()
    driver.grant(0, 15_400)
    pace.sleep(1)
    reading = driver.read()
    assert reading.ports[0].delivering
    assert reading.ports[0].power_mw == pytest.approx(6_000, rel=0.01)
    assert not kernel.transactions, "register access goes by SMBus requests, which every adapter has"
    kernel.adapter.owned.add(0x20)
    with pytest.raises(BusOwned):
        driver.read()
    kernel.adapter.registers.clear()
    kernel.adapter.owned.clear()
    with pytest.raises(NoAnswer):
        driver.read()
    bus.close()


def test_pd692x0_through_smbus2_uses_two_transactions(kernel: Kernel, node: str) -> None:
    pace = SimulatedPace()
    mcu = Pd692x0Mcu(now=pace.monotonic, supply=Supply())
    kernel.adapter.messages[0x3C] = mcu
    chip = Retrying(SmbusBus(node), 0x3C, pace=pace, name="pse0")
    driver = Pd692x0(carrier=I2cCarrier(chip=chip, pace=pace), pace=pace, channels=4)
    assert driver.open().chip == "PD69200"
    assert len(driver.read().ports) == 4
    assert {len(t) for t in kernel.transactions} == {1}, "never a repeated start"
    assert kernel.transactions[:2] == [[(0x3C, 0, 15)], [(0x3C, READ, 15)]]


def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BusMissing, match="not on this machine"):
        SmbusBus(str(tmp_path / "i2c-9"))


def test_the_adapter_answers_as_a_kernel_does() -> None:
    """What a `/dev/i2c-N` server would pass on: request sizes, errno, clear on read, pointer, faults."""
    pace = SimulatedPace()
    adapter = SimulatedI2c()
    adapter.registers[0x20] = tps23861_chip(now=pace.monotonic, supply=Supply())
    assert adapter.smbus(0x20, READ, 0x1B, SMBUS_BYTE_DATA, b"") == (0, b"\x50")
    assert adapter.smbus(0x20, 0, 0x1B, SMBUS_BYTE, b"") == (0, b"")
    assert adapter.smbus(0x20, READ, 0, SMBUS_BYTE, b"") == (0, b"\x50")
    assert adapter.smbus(0x20, READ, 0x2E, SMBUS_WORD_DATA, b"")[1] == bytes([0x9A, 0x39])
    assert adapter.smbus(0x20, READ, 0x1B, SMBUS_BLOCK, b"\x02")[1][:2] == b"\x02\x50"
    assert adapter.smbus(0x20, READ, 0x0B, SMBUS_BYTE_DATA, b"")[1] == b"\x30"
    assert adapter.smbus(0x20, READ, 0x0B, SMBUS_BYTE_DATA, b"")[1] == b"\x00", "odd event registers clear on read"
    assert adapter.smbus(0x21, READ, 0, SMBUS_BYTE_DATA, b"") == (-errno.ENXIO, b"")
    assert adapter.smbus(0x20, READ, 0, 7, b"") == (-errno.EOPNOTSUPP, b"")
    assert adapter.rdwr([(0x20, 0, b"\x1b"), (0x20, READ, b"\0")]) == (0, [b"\x50"])
    adapter.nak_next = 1
    assert adapter.rdwr([(0x20, READ, b"\0")]) == (-errno.EREMOTEIO, [])
    adapter.stuck = True
    assert adapter.smbus(0x20, READ, 0, SMBUS_BYTE_DATA, b"") == (-errno.ETIMEDOUT, b"")
