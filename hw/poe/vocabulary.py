"""The words all PSE controllers share: states, detection results, faults, priorities and power classes.

States follow RFC 3621 (`pethPsePortDetectionStatus`) where it has a word; the rest is what the chips add to it.
"""

from __future__ import annotations

import enum


class PortState(enum.StrEnum):
    """What a port does, in one word for the operator."""

    DISABLED = "disabled"  # switched off by its owner
    SEARCHING = "searching"  # on, looking for a device
    REQUESTING = "requesting"  # a valid device waits for the host to grant power
    STARTING = "starting"  # power applied, inrush not over
    DELIVERING = "delivering"
    DENIED = "denied"  # a device is there, its power was not granted
    BACKOFF = "backoff"  # waits after a fault before the next try
    FAULT = "fault"
    TEST = "test"
    OTHER_FAULT = "other-fault"
    UNKNOWN = "unknown"  # not yet read, or a code nobody documented


class Detection(enum.StrEnum):
    """Result of the newest detection of a signature resistor (IEEE 802.3, 33.2.5)."""

    UNKNOWN = "unknown"
    OPEN = "open"
    VALID = "valid"
    SHORT = "short"
    LOW = "resistance-low"
    HIGH = "resistance-high"
    CAPACITIVE = "capacitive"
    LEGACY = "legacy"
    FAILED = "failed"  # the measurement itself went wrong


class Fault(enum.StrEnum):
    """Why a port lost or did not get power."""

    OVERLOAD = "overload"
    SHORT = "short"
    INRUSH = "inrush"
    MPS_ABSENT = "mps-absent"  # unplugged, or drew too little for too long
    INVALID_SIGNATURE = "invalid-signature"
    CLASS_ERROR = "class-error"
    OVER_TEMPERATURE = "over-temperature"
    SUPPLY_LOW = "supply-low"
    SUPPLY_HIGH = "supply-high"
    POWER_DENIED = "power-denied"
    HARDWARE = "hardware"
    VOLTAGE_INJECTION = "voltage-injection"
    HOST_COMM = "host-comm"  # the controller does not answer the host

    @property
    def is_failure(self) -> bool:
        """False for what ordinary use causes: a device unplugged, power not granted."""
        return self not in (Fault.MPS_ABSENT, Fault.POWER_DENIED)


class Priority(enum.IntEnum):
    """RFC 3621 `pethPsePortPowerPriority`: the lower number keeps its power longer."""

    CRITICAL = 1
    HIGH = 2
    LOW = 3


CLASS_PSE_MW = {0: 15_400, 1: 4_000, 2: 7_000, 3: 15_400, 4: 30_000, 5: 45_000, 6: 60_000, 7: 75_000, 8: 90_000}
"""Power in mW the PSE must be able to give at its port, by class (IEEE 802.3, tables 33-7 and 145-16)."""

CLASS_PD_MW = {0: 12_950, 1: 3_840, 2: 6_490, 3: 12_950, 4: 25_500, 5: 40_000, 6: 51_000, 7: 62_000, 8: 71_300}
"""Power in mW a device of that class may draw at the end of 100 m of cable."""
