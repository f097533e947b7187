"""Cameras' event documents: ONVIF `tt:MetadataStream` and any other XML with `wsnt:NotificationMessage` in it. Bytes in, events out.

A document comes from the network, so everything about it is bounded, and what XML offers beyond elements is refused: no DTD, no entities
but the five of XML, no external anything. This module runs in the worker (`recorderd.workers.camera_events`), never in the daemon.
"""

from __future__ import annotations

from xml.parsers import expat

from recorderd.events.notification import (
    MAX_DOCUMENT_BYTES,
    MAX_ITEMS,
    MAX_NAME_CHARS,
    MAX_NOTIFICATIONS,
    MAX_TOPIC_CHARS,
    MAX_VALUE_CHARS,
    Answer,
    BadDocument,
    Notification,
)

MAX_DEPTH = 32
MAX_ELEMENTS = 8192

_SEPARATOR = "\n"  # cannot occur in a namespace URI or a name
_TOPICS = {"http://www.onvif.org/ver10/topics": "tns1", "http://www.axis.com/2009/event/topics": "tnsaxis"}
_OPERATIONS = ("Initialized", "Changed", "Deleted")


class _Reader:
    """State of one document."""

    def __init__(self) -> None:
        self.found: list[Notification] = []
        self.address = ""  # of a subscription
        self.fault = ""
        self._path: list[str] = []
        self._elements = 0
        self._prefixes: dict[str, list[str]] = {}
        self._topic = ""
        self._operation = ""
        self._items: dict[str, list[tuple[str, str]]] = {}
        self._parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.EndNamespaceDeclHandler = self._undeclare
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def read(self, document: bytes) -> list[Notification]:
        try:
            self._parser.Parse(document, True)
        except BadDocument:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: encodings that Python has not
            raise BadDocument(f"not well-formed XML: {error}") from error
        return self.found

    def _refuse_doctype(self, *_: object) -> None:
        raise BadDocument("a document type declaration")

    def _declare(self, prefix: str | None, uri: str) -> None:
        self._prefixes.setdefault(prefix or "", []).append(uri)

    def _undeclare(self, prefix: str | None) -> None:
        self._prefixes[prefix or ""].pop()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(_SEPARATOR)[2]
        self._path.append(local)
        self._elements += 1
        if len(self._path) > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise BadDocument("too deep, or too many elements")
        if local == "NotificationMessage":
            self._topic, self._operation = "", ""
            self._items = {"Source": [], "Key": [], "Data": []}
        elif "NotificationMessage" not in self._path:
            return
        elif local == "Message" and "PropertyOperation" in attributes:
            operation = attributes["PropertyOperation"]
            self._operation = operation if operation in _OPERATIONS else ""
        elif local == "SimpleItem" and len(self._path) > 1 and self._path[-2] in self._items:
            self._item(self._items[self._path[-2]], attributes)

    def _item(self, items: list[tuple[str, str]], attributes: dict[str, str]) -> None:
        item, value = attributes.get("Name", ""), attributes.get("Value", "")
        if not item or len(item) > MAX_NAME_CHARS or len(value) > MAX_VALUE_CHARS or len(items) >= MAX_ITEMS:
            raise BadDocument("an item without a name, too long, or one too many")
        items.append((item, value))

    def _text(self, text: str) -> None:
        if self._path[-2:] == ["SubscriptionReference", "Address"]:
            self.address = (self.address + text)[:MAX_VALUE_CHARS]
        elif self._path[-1:] == ["Text"] and "Fault" in self._path:
            self.fault = (self.fault + text)[:200]
        if self._path and self._path[-1] == "Topic" and "NotificationMessage" in self._path:
            self._topic += text
            if len(self._topic) > MAX_TOPIC_CHARS:
                raise BadDocument("a topic is too long")

    def _end(self, name: str) -> None:
        self._path.pop()
        if name.rpartition(_SEPARATOR)[2] == "Topic" and self._topic:
            self._topic = self._with_known_prefixes(self._topic.strip())
        if name.rpartition(_SEPARATOR)[2] == "NotificationMessage" and self._topic:
            if len(self.found) >= MAX_NOTIFICATIONS:
                raise BadDocument("too many notifications")
            source = tuple(self._items["Source"] + self._items["Key"])
            self.found.append(Notification(self._topic, source, tuple(self._items["Data"]), self._operation))

    def _with_known_prefixes(self, topic: str) -> str:
        """Prefixes in a topic are the document's own: `tns1` and `tnsaxis` are put for their namespaces, whatever they are called here."""
        steps = []
        for step in topic.split("/"):
            prefix, colon, local = step.partition(":")
            if colon:
                uris = self._prefixes.get(prefix)
                prefix = _TOPICS.get(uris[-1], prefix) if uris else prefix
                steps.append(f"{prefix}:{local}")
            else:
                steps.append(step)
        return "/".join(steps)


def read_document(document: bytes) -> Answer:
    """Everything that a document says: notifications, a subscription that was granted, or a SOAP fault. Raises `BadDocument`."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise BadDocument(f"more than {MAX_DOCUMENT_BYTES} bytes")
    reader = _Reader()
    found = reader.read(document)
    address = reader.address.strip()
    return Answer(found, refusal=reader.fault.strip(), granted=bool(address), address=address)


def parse_document(document: bytes) -> list[Notification]:
    """The notifications of one document, in order; an empty list for one without. Raises `BadDocument`."""
    return read_document(document).notifications
