"""What the worker makes of a camera's document, and the bounds of both. Shared by the worker and the daemon."""

from __future__ import annotations

import enum

import msgspec

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_NOTIFICATIONS = 256
MAX_ITEMS = 64
MAX_NAME_CHARS = 64
MAX_TOPIC_CHARS = 256
MAX_VALUE_CHARS = 1024


class BadDocument(ValueError):
    """Not a document we take; the text says why."""


class Kind(enum.Enum):
    """How a document is written."""

    XML = "X"  # any XML with wsnt:NotificationMessage in it: tt:MetadataStream, PullMessagesResponse
    JSON = "J"  # one message of an Axis camera's event WebSocket


class Notification(msgspec.Struct, frozen=True):
    """One notification of a camera. `operation` is empty for an event that is no property. Key items are among the source items."""

    topic: str
    source: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    operation: str


class Answer(msgspec.Struct, frozen=True):
    """What the worker says about one document."""

    notifications: list[Notification] = []
    error: str = ""  # why the document was not read
    refusal: str = ""  # the document says that what we asked for is refused: why
    granted: bool = False  # it says that what we asked for is granted
    address: str = ""  # of the subscription that it grants
