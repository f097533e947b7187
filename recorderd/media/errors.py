"""What the parsers of this room raise: input that is not what its specification says."""

from __future__ import annotations


class MediaError(ValueError):
    """Media that cannot be understood or stored. The text names the field and is free of the media's own bytes."""


class BitstreamError(MediaError):
    """A parameter set, header or configuration record is cut short or has a value out of range."""


class BoxError(MediaError):
    """ISO base media boxes that are malformed, too large or not as this recorder writes them."""
