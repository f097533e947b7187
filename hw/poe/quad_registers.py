"""Register sheet of the four-port dialect that TPS23861, TPS2388x, Si3474 and PD69104 share (TI SLUSBX9, SLUSC25).

Port n of a chip is bit n (from 0) of a nibble. Event registers come in pairs: reading the odd address clears what it returns.
"""

from __future__ import annotations

import enum
import struct


class Reg(enum.IntEnum):
    INTERRUPT = 0x00
    INTERRUPT_ENABLE = 0x01
    POWER_EVENT = 0x03
    DETECT_EVENT = 0x05
    FAULT_EVENT = 0x07
    START_EVENT = 0x09
    SUPPLY_EVENT = 0x0B
    PORT_STATUS = 0x0C  # four bytes
    POWER_STATUS = 0x10
    MODE = 0x12
    DISCONNECT_ENABLE = 0x13
    DETECT_ENABLE = 0x14
    TIMING = 0x16
    GENERAL = 0x17
    POWER_ENABLE = 0x19
    RESET = 0x1A
    ID = 0x1B
    TWO_EVENT = 0x21
    DISCONNECT_THRESHOLD = 0x29
    ICUT_LOW = 0x2A
    ICUT_HIGH = 0x2B
    TEMPERATURE = 0x2C
    FOLDBACK = 0x40
    FIRMWARE = 0x41
    DEVICE_ID = 0x43
    RESISTANCE = 0x60


class Flag(enum.IntFlag):
    """Register 0x00."""

    POWER_ENABLE_CHANGED = 0x01
    POWER_GOOD_CHANGED = 0x02
    DISCONNECT = 0x04
    DETECT_DONE = 0x08
    CLASS_DONE = 0x10
    CURRENT_FAULT = 0x20
    START_FAULT = 0x40
    SUPPLY_FAULT = 0x80


class Mode(enum.IntEnum):
    OFF = 0
    MANUAL = 1
    SEMI_AUTO = 2
    AUTO = 3


SUPPLY_UNDER_VOLTAGE = 0x10  # VPUV
LOGIC_UNDER_VOLTAGE = 0x20  # VDUV: the chip's registers are at their reset values
OVER_TEMPERATURE = 0x80  # TSD

STATUS = struct.Struct("4B B x 3B")
"""PORT_STATUS to DETECT_ENABLE, 0x0C to 0x14: what a port is at one instant. Four port statuses (class nibble, detect nibble), power
status (good nibble, enabled nibble), 0x11 (pins), mode, disconnect enable, detect enable."""

MEASUREMENTS = struct.Struct("<B x H 8H")
"""0x2C to 0x3F: temperature, input voltage, then current and voltage of each port. ADC words carry 14 bits."""

ADC_MASK = 0x3FFF


def port_mode(register: int, port: int) -> int:
    """Two bits per port, port 0 lowest: registers 0x12, 0x20, 0x21, 0x29."""
    return register >> (2 * port) & 3


def with_port_mode(register: int, port: int, mode: int) -> int:
    return register & ~(3 << 2 * port) & 0xFF | mode << 2 * port
