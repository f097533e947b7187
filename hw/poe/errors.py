"""What can go wrong on the way to a PSE controller. Every message is one line an operator understands."""

from __future__ import annotations


class PoeError(Exception):
    """Base of all; also raised for what fits no other word."""


class BusMissing(PoeError):
    """The bus, line or file does not exist on this machine."""


class BusForbidden(PoeError):
    """The bus exists, this process may not open it."""


class BusOwned(PoeError):
    """Another owner, usually a kernel driver, has the chip (EBUSY). Never worked around by force."""


class BusFailed(PoeError):
    """Transfers failed after all retries."""


class BusHung(PoeError):
    """An operation did not come back in time; the bus is left alone until it does."""


class NoAnswer(BusFailed):
    """Nothing acknowledged at the address, or no frame came back."""


class WrongChip(PoeError):
    """Something answered, and it is not what the board file says."""


class Rejected(PoeError):
    """The controller understood the command and refused it."""


class NotSupported(PoeError):
    """The controller has no such function; its capabilities say so."""
