"""As much of HTTP/1.1 as the web server of a simulated camera needs (RFC 9112)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

HEAD_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024
_REASONS = {
    101: "Switching Protocols",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    500: "Internal Server Error",
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """One HTTP/1.1 request; None at the end of the connection. Raises ValueError for what is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    length = int(headers.get("content-length", "0"))
    if length > BODY_BYTES:
        raise ValueError("too long")
    return HttpRequest(method, target, headers, await reader.readexactly(length))


def response(
    status: int, headers: list[tuple[str, str]] | None = None, body: bytes = b"", *, length: bool = True
) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Wrong')}", "Server: recorderd simulated camera"]
    lines += [f"{name}: {value}" for name, value in headers or []]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
