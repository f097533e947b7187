"""Messages of an Axis camera's event WebSocket (VAPIX "Event streaming over WebSocket", 1.0): one JSON text in, an `Answer` out.

The stream says what an event's items are and not whether it is a property. What is about motion, or has an item that is named and valued
like a state, is taken for one; anything else is an instant. This module runs in the worker (`recorderd.workers.camera_events`), never in
the daemon.
"""

from __future__ import annotations

import msgspec

from recorderd.events.motion import is_motion
from recorderd.events.notification import (
    MAX_DOCUMENT_BYTES,
    MAX_ITEMS,
    MAX_NAME_CHARS,
    MAX_TOPIC_CHARS,
    MAX_VALUE_CHARS,
    Answer,
    BadDocument,
    Notification,
)

NOTIFY, CONFIGURE = "events:notify", "events:configure"
_STATES = frozenset(
    {
        "active",
        "state",
        "ismotion",
        "motion",
        "logicalstate",
        "ready",
        "lost",
        "disruption",
        "alert",
        "recording",
        "connected",
    }
    | {"triggered", "open", "failed", "failure", "fan_failure", "day", "limit_exceeded", "tampering"}
)
_TRUTH = frozenset({"0", "1", "true", "false"})
Value = str | int | float | bool | None


class _Message(msgspec.Struct, frozen=True):
    source: dict[str, Value] = {}
    key: dict[str, Value] = {}
    data: dict[str, Value] = {}


class _Notification(msgspec.Struct, frozen=True):
    topic: str
    message: _Message = _Message()


class _Parameters(msgspec.Struct, frozen=True):
    notification: _Notification | None = None


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Frame(msgspec.Struct, frozen=True):
    method: str = ""
    params: _Parameters = _Parameters()
    error: _Error | None = None


_FRAMES = msgspec.json.Decoder(_Frame)


def parse_message(document: bytes) -> Answer:
    """One message. Methods that are not known say nothing. Raises `BadDocument`."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise BadDocument(f"more than {MAX_DOCUMENT_BYTES} bytes")
    try:
        frame = _FRAMES.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadDocument(f"not a message of the event stream: {error}") from error
    if frame.error is not None:
        return Answer(refusal=f"{frame.error.message[:200] or 'refused'} ({frame.error.code})")
    if frame.method == CONFIGURE:
        return Answer(granted=True)
    if frame.method == NOTIFY and frame.params.notification is not None:
        return Answer([_notification(frame.params.notification)])
    return Answer()


def _notification(found: _Notification) -> Notification:
    if not found.topic or len(found.topic) > MAX_TOPIC_CHARS:
        raise BadDocument("a topic is missing or too long")
    message = found.message
    source, data = _items({**message.source, **message.key}), _items(message.data)
    stateful = is_motion(found.topic) or any(n.lower() in _STATES and v.lower() in _TRUTH for n, v in data)
    return Notification(found.topic, source, data, "Changed" if stateful else "")


def _items(found: dict[str, Value]) -> tuple[tuple[str, str], ...]:
    items = tuple((name, _text(value)) for name, value in found.items())
    if len(items) > MAX_ITEMS or any(not n or len(n) > MAX_NAME_CHARS or len(v) > MAX_VALUE_CHARS for n, v in items):
        raise BadDocument("an item without a name, too long, or one too many")
    return items


def _text(value: Value) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)
