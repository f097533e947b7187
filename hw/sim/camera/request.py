"""RTSP requests (RFC 2326) out of a byte stream that may also carry interleaved packets from the client."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 64 * 1024  # bytes of one request or interleaved packet


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Interleaved:
    channel: int
    data: bytes


class BadRequest(Exception):
    """The client sent what is no RTSP."""


class Parser:
    """Feed bytes, get what is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Request | Interleaved]:
        self._buffer += data
        found = []
        while (item := self._next()) is not None:
            found.append(item)
        return found

    def _next(self) -> Request | Interleaved | None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            del buffer[:2]
        if buffer[:1] == b"$":
            if len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[2:4], "big"):
                return None
            end = 4 + int.from_bytes(buffer[2:4], "big")
            packet = Interleaved(buffer[1], bytes(buffer[4:end]))
            del buffer[:end]
            return packet
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > LIMIT:
                raise BadRequest("request too long")
            return None
        first, *lines = bytes(buffer[:end]).decode("utf-8", "replace").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("RTSP/"):
            raise BadRequest("no RTSP request line")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LIMIT:
            raise BadRequest("bad Content-Length")
        if len(buffer) < end + 4 + int(length):
            return None
        body = bytes(buffer[end + 4 : end + 4 + int(length)])
        del buffer[: end + 4 + int(length)]
        return Request(words[0], words[1], headers, body)
