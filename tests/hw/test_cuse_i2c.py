"""A simulated bus as a device node: the messages without a kernel, and, where the kernel has CUSE, unmodified smbus2 on `/dev/i2c-77`."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from hw.poe.pace import SystemPace
from hw.sim.cuse_i2c import I2c, Op, Protocol, serve
from hw.sim.i2c_adapter import READ, SMBUS_BYTE_DATA, SimulatedI2c
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.pd692x0_mcu import Pd692x0Mcu
from hw.sim.pse.tps23861_chip import tps23861_chip
from tests.hw.simulated_pace import SimulatedPace


class Client:
    """The kernel's half: repeats an ioctl with the memory that the reply asked for."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.memory: dict[int, bytearray] = {}
        self.attempts = 0

    def call(self, opcode: int, body: bytes) -> tuple[int, bytes]:
        answer = self.protocol.reply(struct.pack("=IIQQIIIHH", 40 + len(body), opcode, 9, 0, 0, 0, 1, 0, 0) + body)
        assert answer is not None
        length, error, unique = struct.unpack_from("=IiQ", answer)
        assert (length, unique) == (len(answer), 9)
        return error, answer[16:]

    def ioctl(self, command: int, argument: int) -> tuple[int, int]:
        """(error, result); fills memory."""
        reads: list[tuple[int, int]] = []
        writes: list[tuple[int, int]] = []
        self.attempts = 0
        while True:
            self.attempts += 1
            assert self.attempts < 5
            data = b"".join(bytes(self.memory[a][:n]) for a, n in reads)
            head = struct.pack("=QIIQII", 1, 0, command, argument, len(data), sum(n for _, n in writes))
            error, body = self.call(Op.IOCTL, head + data)
            if error:
                return error, 0
            result, flags, count_in, count_out = struct.unpack_from("=iIII", body)
            if not flags:
                out = body[16:]
                for address, size in writes:
                    self.memory[address][:size], out = out[:size], out[size:]
                return 0, result
            vectors = [struct.unpack_from("=QQ", body, 16 + 16 * i) for i in range(count_in + count_out)]
            reads, writes = vectors[:count_in], vectors[count_in:]


@pytest.fixture
def client() -> Client:
    pace = SimulatedPace()
    adapter = SimulatedI2c()
    adapter.registers[0x20] = tps23861_chip(now=pace.monotonic, supply=Supply())
    adapter.messages[0x3C] = Pd692x0Mcu(now=lambda: pace.now, supply=Supply())
    made = Client(Protocol(adapter, "i2c-77"))
    error, body = made.call(Op.INIT, struct.pack("=IIII", 7, 31, 0, 1))
    assert (error, body[-15:]) == (0, b"DEVNAME=i2c-77\0")
    assert made.call(Op.OPEN, bytes(8))[0] == 0
    made.pace = pace  # type: ignore[attr-defined]
    return made


def test_functions_and_byte_access(client: Client) -> None:
    client.memory[0x1000] = bytearray(8)
    assert client.ioctl(I2c.FUNCS, 0x1000) == (0, 0)
    assert struct.unpack("=Q", client.memory[0x1000])[0] & 1
    assert client.ioctl(I2c.SLAVE, 0x20) == (0, 0)
    client.memory[0x2000] = bytearray(struct.pack("=BBxxIQ", READ, 0x1B, SMBUS_BYTE_DATA, 0x3000))
    client.memory[0x3000] = bytearray(34)
    assert client.ioctl(I2c.SMBUS, 0x2000) == (0, 0)
    assert client.memory[0x3000][0] == 0x50
    assert client.attempts == 3
    assert client.ioctl(I2c.SLAVE, 0x51) == (0, 0)
    assert client.ioctl(I2c.SMBUS, 0x2000)[0] == -6
    assert client.ioctl(0x9999, 0)[0] == -25


def test_plain_messages(client: Client) -> None:
    request = bytes.fromhex("02 02 07 1e 21 4e 4e 4e 4e 4e 4e 4e 4e 02 ba")
    client.memory[0x5000] = bytearray(request)
    client.memory[0x4000] = bytearray(struct.pack("=HHHxxQ", 0x3C, 0, 15, 0x5000))
    client.memory[0x6000] = bytearray(struct.pack("=QI4x", 0x4000, 1))
    assert client.ioctl(I2c.RDWR, 0x6000) == (0, 1)
    client.pace.sleep(0.03)  # type: ignore[attr-defined]
    client.memory[0x4000] = bytearray(struct.pack("=HHHxxQ", 0x3C, READ, 15, 0x5000))
    assert client.ioctl(I2c.RDWR, 0x6000) == (0, 1)
    assert client.memory[0x5000][:5] == bytes((0x03, 0x02, 0x00, 0x00, 24))
    client.memory[0x6000] = bytearray(struct.pack("=QI4x", 0x4000, 1_000))
    assert client.ioctl(I2c.RDWR, 0x6000)[0] == -22


_USER = textwrap.dedent(
    """
    import sys, time
    from hw.poe.i2c import Retrying, SmbusBus
    from hw.poe.pace import SystemPace
    from hw.poe.pd692x0 import Pd692x0
    from hw.poe.pd692x0_link import I2cCarrier
    from hw.poe.tps23861 import Tps23861

    pace, bus = SystemPace(), SmbusBus("/dev/i2c-77")
    tps = Tps23861(bus=bus, address=0x20, pace=pace)
    print(tps.open().chip)
    tps.set_admin(0, on=True)
    deadline = time.monotonic() + 20
    while tps.read().ports[0].state != "requesting":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tps.grant(0, 15400)
    while not tps.read().ports[0].delivering:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    print(round(tps.read().ports[0].power_mw, -2))
    pd = Pd692x0(carrier=I2cCarrier(chip=Retrying(bus, 0x3C, pace=pace, name="pd"), pace=pace), pace=pace, channels=2)
    print(pd.open().chip, len(pd.read().ports))
    try:
        Tps23861(bus=bus, address=0x28, pace=pace).open()
    except Exception as error:
        print(type(error).__name__)
    """
)


@pytest.mark.root
@pytest.mark.skipif(not Path("/dev/cuse").exists(), reason="needs a kernel with CUSE")
def test_drivers_on_a_device_node() -> None:
    now = SystemPace().monotonic
    adapter, supply = SimulatedI2c(), Supply()
    chip = tps23861_chip(now=now, supply=supply)
    chip.plug(0, Load(draw_mw=6_000))
    adapter.registers[0x20] = chip
    adapter.messages[0x3C] = Pd692x0Mcu(now=now, supply=supply)
    stopped, stop = os.pipe()
    server = threading.Thread(target=serve, args=(adapter, "i2c-77", stopped), daemon=True)
    server.start()
    deadline = time.monotonic() + 10
    while not Path("/dev/i2c-77").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = subprocess.run(
        [sys.executable, "-c", _USER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    os.write(stop, b"x")
    server.join(5)
    assert done.stdout.split() == ["TPS23861", "6000", "PD69200", "2", "NoAnswer"], done.stderr
