"""Frames of the Microchip PD692x0 serial protocol (BT firmware): fifteen bytes, the same on I2C and UART.

KEY ECHO, eleven bytes that begin with the subject and end in fill, and the 16-bit sum of all before. An answer repeats the echo of its
request. What follows are the layouts of the eleven bytes, with 'N' (0x4E) wherever a message says nothing.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from construct import Byte, Bytes, Checksum, ChecksumError, Int8ub, Int16ub, Padding, RawCopy, StreamError, Struct, this

FRAME_BYTES = 15
FILL = 0x4E
ECHO_UNSOLICITED = 0xFF


class Key(enum.IntEnum):
    COMMAND = 0x00
    PROGRAM = 0x01
    REQUEST = 0x02
    TELEMETRY = 0x03
    REPORT = 0x52


_FRAME = Struct(
    "body" / RawCopy(Struct("key" / Byte, "echo" / Byte, "data" / Bytes(11))),
    "checksum" / Checksum(Int16ub, lambda body: sum(body) & 0xFFFF, this.body.data),
)

PortStatus = Struct(
    "status" / Int8ub,
    "enabled" / Int8ub,
    "assigned_class" / Int8ub,
    "power" / Int16ub,  # 0.1 W
    Padding(2),
    "last_shutdown" / Int8ub,
    "event" / Int8ub,
)
PortParameters = Struct(
    "status" / Int8ub, "cfg1" / Int8ub, "cfg2" / Int8ub, "opmode" / Int8ub, "added" / Int8ub, "priority" / Int8ub
)
PortClass = Struct(
    Padding(2),
    "measured" / Int8ub,
    "requested" / Int8ub,
    "requested_power" / Int16ub,
    "assigned" / Int8ub,
    "assigned_power" / Int16ub,
)
Measurements = Struct(
    "main_voltage" / Int16ub,  # 0.1 V
    "current" / Int16ub,  # mA
    "power" / Int16ub,  # 0.1 W, big endian over both bytes
    Padding(1),
    "port_voltage" / Int16ub,  # 0.1 V
)
TotalPower = Struct(
    "consumption" / Int16ub,  # W, as the next three
    "calculated" / Int16ub,
    "available" / Int16ub,
    "limit" / Int16ub,
    "bank" / Int8ub,
    "main_voltage" / Int16ub,  # 0.1 V
)
PowerBank = Struct("power" / Int16ub, "maximum" / Int16ub, "minimum" / Int16ub, "guard" / Int8ub)
Version = Struct(Padding(2), "product" / Int8ub, "version" / Int16ub)


class Frame(NamedTuple):
    key: int
    echo: int
    data: bytes  # eleven bytes


class BadFrame(Exception):
    """Not fifteen bytes, or the checksum is wrong."""


def build(key: Key, echo: int, words: bytes) -> bytes:
    """The fifteen bytes; `words` (at most eleven) starts with the subject and is filled up."""
    if len(words) > 11:
        raise ValueError(f"{len(words)} bytes do not fit a frame")
    body = bytes((key, echo)) + words.ljust(11, bytes([FILL]))
    return body + (sum(body) & 0xFFFF).to_bytes(2, "big")


def parse(raw: bytes) -> Frame:
    try:
        found = _FRAME.parse(raw)
    except (ChecksumError, StreamError) as error:
        raise BadFrame(raw.hex(" ")) from error
    body = found.body.value
    return Frame(body.key, body.echo, bytes(body.data))


class Subject:
    """The first bytes of each message, in the order of the protocol's chapters."""

    BT_SYSTEM_STATUS = bytes((0x07, 0xD0))
    VERSION = bytes((0x07, 0x1E, 0x21))
    TOTAL_POWER = bytes((0x07, 0x0B, 0x60))
    POWER_BANK = bytes((0x07, 0x0B, 0x57))
    PARAMETERS = bytes((0x05, 0xC0))
    STATUS = bytes((0x05, 0xC1))
    CLASS = bytes((0x05, 0xC4))
    MEASUREMENTS = bytes((0x05, 0xC5))
    SAVE = bytes((0x06, 0x0F))
