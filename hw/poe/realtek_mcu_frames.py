"""Frames of the PSE microcontrollers in front of Broadcom (generation 1) and Realtek (generation 2) chips: twelve bytes on a UART.

Opcode, sequence number, nine bytes of payload filled with 0xFF, and the 8-bit sum of all before. An answer repeats opcode and sequence.
The two generations number the same functions differently; `OPCODES` has both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from construct import Byte, Bytes, Checksum, ChecksumError, Int8ub, Int16ub, RawCopy, StreamError, Struct, this

FRAME_BYTES = 12
FILL = 0xFF
INCOMPLETE, CHECKSUM_WRONG, NOT_READY = 0xFD, 0xFE, 0xFF


class Function(enum.Enum):
    ENABLE = enum.auto()
    BUDGET = enum.auto()
    LIMIT_TYPE = enum.auto()
    LIMIT = enum.auto()
    PRIORITY = enum.auto()
    SYSTEM = enum.auto()
    PORT_STATUS = enum.auto()
    STATUS_OF_FOUR = enum.auto()
    POWER = enum.auto()
    PORT_POWER = enum.auto()


OPCODES: Mapping[Function, tuple[int, int]] = {
    Function.ENABLE: (0x00, 0x01),
    Function.BUDGET: (0x18, 0x04),
    Function.LIMIT_TYPE: (0x15, 0x12),
    Function.LIMIT: (0x16, 0x13),
    Function.PRIORITY: (0x1A, 0x15),
    Function.SYSTEM: (0x20, 0x40),
    Function.PORT_STATUS: (0x21, 0x42),
    Function.STATUS_OF_FOUR: (0x28, 0x43),
    Function.POWER: (0x23, 0x41),
    Function.PORT_POWER: (0x30, 0x44),
}
"""By generation, 1 and 2."""

CHIPS = {
    0xE111: ("BCM59111", 1),
    0xE121: ("BCM59121", 1),
    0x0138: ("RTL8238B", 2),
    0x0039: ("RTL8239", 2),
    0x0139: ("RTL8239C", 2),
}
"""Device id: name and generation."""

_FRAME = Struct(
    "body" / RawCopy(Struct("opcode" / Byte, "sequence" / Byte, "payload" / Bytes(9))),
    "checksum" / Checksum(Byte, lambda body: sum(body) & 0xFF, this.body.data),
)

System = Struct(
    "mode" / Int8ub, "ports" / Int8ub, "map" / Int8ub, "device" / Int16ub, "version" / Int8ub, "mcu" / Int8ub
)
Power = Struct("consumed" / Int16ub, "budget" / Int16ub)  # 0.1 W
PortPower = Struct(
    "port" / Int8ub,
    "voltage" / Int16ub,  # 64.45 mV
    "current" / Int16ub,  # mA
    "temperature" / Int16ub,
    "power" / Int16ub,  # 0.1 W
)
PortDetail = Struct("port" / Int8ub, "status1" / Int8ub, "status2" / Int8ub, "pd_class" / Int8ub)
Budget = Struct("pse" / Int8ub, "budget" / Int16ub, "guard" / Int16ub)  # 0.1 W


class Frame(NamedTuple):
    opcode: int
    sequence: int
    payload: bytes  # nine bytes


class BadFrame(Exception):
    """Not twelve bytes, or the checksum is wrong."""


def build(opcode: int, sequence: int, payload: bytes) -> bytes:
    if len(payload) > 9:
        raise ValueError(f"{len(payload)} bytes do not fit a frame")
    body = bytes((opcode, sequence)) + payload.ljust(9, bytes([FILL]))
    return body + bytes([sum(body) & 0xFF])


def parse(raw: bytes) -> Frame:
    try:
        found = _FRAME.parse(raw)
    except (ChecksumError, StreamError) as error:
        raise BadFrame(raw.hex(" ")) from error
    body = found.body.value
    return Frame(body.opcode, body.sequence, bytes(body.payload))
