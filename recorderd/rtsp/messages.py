"""RTSP requests and responses as text (RFC 2326, with what cameras make of it).

Parsing is strict about what could mislead (lengths, sizes, counts) and lenient about what cameras get wrong without harm: bare line
feeds, a missing reason phrase, header names in any case, repeated or folded headers, RTSP/1.0 written as RTSP/2.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 256 * 1024
MAX_HEADERS = 100

_STATUS_LINE = re.compile(rb"RTSP/[0-9]\.[0-9] +([0-9]{3})(?: +(.*))?")
_REQUEST_LINE = re.compile(rb"([A-Z_]{1,32}) +(\S{1,2048}) +RTSP/[0-9]\.[0-9]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_DIGITS = re.compile(r"[0-9]{1,9}")


class MessageError(ValueError):
    """Bytes that are no RTSP message, or one past the bounds above."""


class Headers:
    """Header fields in order; look-up ignores case. `get` gives the first value, `all` every one."""

    __slots__ = ("_items",)

    def __init__(self, items: list[tuple[str, str]] | None = None) -> None:
        self._items = items if items is not None else []

    def get(self, name: str, default: str = "") -> str:
        lower = name.lower()
        return next((value for key, value in self._items if key.lower() == lower), default)

    def all(self, name: str) -> list[str]:
        lower = name.lower()
        return [value for key, value in self._items if key.lower() == lower]

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self._items)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"Headers({[key for key, _ in self._items]})"  # values may hold credentials


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def cseq(self) -> int | None:
        return _number(self.headers.get("CSeq"))


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the server sent to us."""

    method: str
    url: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def cseq(self) -> int | None:
        return _number(self.headers.get("CSeq"))


Message = Response | Request


def _number(text: str) -> int | None:
    match = _DIGITS.match(text.strip())
    return int(match[0]) if match else None


def encode_request(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request's bytes. Raises `MessageError` when a value would break the line it stands in."""
    lines = [f"{method} {url} RTSP/1.0"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if any(ord(c) < 32 for line in lines for c in line) or " " in url:
        raise MessageError("a control character in a request")
    try:
        return text.encode("utf-8") + b"\r\n\r\n" + body
    except UnicodeEncodeError as error:
        raise MessageError("a lone surrogate in a request") from error


def encode_response(status: int, reason: str, headers: Mapping[str, str]) -> bytes:
    """The answer to a request that the server sent."""
    lines = [f"RTSP/1.0 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("ascii", "replace") + b"\r\n\r\n"


def head_end(data: bytes) -> int:
    """Where the blank line that ends the head lies: the offset just after it, or -1 while it has not arrived."""
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n") if (at := data.find(mark)) >= 0]
    return min(ends) if ends else -1


def parse_head(head: bytes) -> tuple[Response | Request, int]:
    """A message without its body, and the body's length in bytes. Raises `MessageError`."""
    if len(head) > MAX_HEAD_BYTES:
        raise MessageError(f"head of {len(head)} bytes")
    lines = head.replace(b"\r\n", b"\n").strip(b"\n").split(b"\n")
    if len(lines) > MAX_HEADERS + 1:
        raise MessageError(f"{len(lines)} header lines")
    headers = Headers(_fields(lines[1:]))
    length = _content_length(headers)
    if match := _STATUS_LINE.fullmatch(lines[0].strip()):
        reason = (match[2] or b"").decode("utf-8", "replace")
        return Response(int(match[1]), reason, headers), length
    if match := _REQUEST_LINE.fullmatch(lines[0].strip()):
        return Request(match[1].decode("ascii"), match[2].decode("utf-8", "replace"), headers), length
    raise MessageError("first line is neither a status line nor a request line")


def _fields(lines: list[bytes]) -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and items:
            name, value = items[-1]
            items[-1] = (name, f"{value} {line.strip().decode('utf-8', 'replace')}")
            continue
        name_bytes, colon, rest = line.partition(b":")
        name_bytes = name_bytes.strip()
        if not colon or not _NAME.fullmatch(name_bytes):
            continue  # a line that is no header harms nothing
        items.append((name_bytes.decode("ascii"), rest.strip().decode("utf-8", "replace")))
    return items


def _content_length(headers: Headers) -> int:
    values = set(headers.all("Content-Length"))
    if not values:
        return 0
    if len(values) > 1:
        raise MessageError("two different Content-Length headers")
    value = values.pop()
    if not _DIGITS.fullmatch(value) or int(value) > MAX_BODY_BYTES:
        raise MessageError("Content-Length is not a number in bounds")
    return int(value)
