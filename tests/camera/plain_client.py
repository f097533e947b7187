"""A minimal RTSP client for the tests of the simulated cameras: reads replies and packets as they come and judges nothing."""

from __future__ import annotations

import asyncio
import hashlib
import re
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass
class Packet:
    channel: int
    data: bytes

    @property
    def marker(self) -> bool:
        return bool(self.data[1] & 0x80)

    @property
    def sequence(self) -> int:
        return struct.unpack_from(">H", self.data, 2)[0]

    @property
    def timestamp(self) -> int:
        return struct.unpack_from(">I", self.data, 4)[0]

    @property
    def payload(self) -> bytes:
        assert not self.data[0] & 0x10
        return self.data[12:]


@dataclass
class PlainClient:
    url: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    session: str = ""
    cseq: int = 0
    packets: list[Packet] = field(default_factory=list)  # that came before a reply

    @classmethod
    async def connect(cls, url: str) -> PlainClient:
        parts = urlsplit(url)
        return cls(url, *await asyncio.open_connection(parts.hostname, parts.port))

    async def __aenter__(self) -> PlainClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def ask(self, method: str, url: str = "", **headers: str) -> Reply:
        self.cseq += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self.cseq}"]
        if self.session:
            lines.append(f"Session: {self.session}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        while True:
            item = await self.next()
            if isinstance(item, Reply):
                self.session = item.get("Session").partition(";")[0] or self.session
                return item
            self.packets.append(item)

    async def next(self) -> Reply | Packet:
        first = await self.reader.readexactly(1)
        if first == b"$":
            channel, length = struct.unpack(">BH", await self.reader.readexactly(3))
            return Packet(channel, await self.reader.readexactly(length))
        head = (first + await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip().split("\r\n")
        reply = Reply(int(status.split(" ")[1]), [tuple(line.split(": ", 1)) for line in lines])
        if length := int(reply.get("Content-Length") or 0):
            reply.body = await self.reader.readexactly(length)
        return reply

    async def play(self, tracks: int = 1) -> Reply:
        for track in range(tracks):
            transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
            reply = await self.ask("SETUP", f"{self.url}/trackID={track}", Transport=transport)
            assert reply.status == 200, reply
        return await self.ask("PLAY")

    async def rtp(self, count: int, channel: int = 0) -> list[Packet]:
        """The next packets of one channel, those that came before a reply first."""
        got = []
        while len(got) < count:
            item = self.packets.pop(0) if self.packets else await self.next()
            if isinstance(item, Packet) and item.channel == channel:
                got.append(item)
        return got


def digest(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """An Authorization value for a Digest challenge (RFC 7616), written apart from the server's code."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
    hashed = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[fields["algorithm"]]

    def h(text: str) -> str:
        return hashed(text.encode()).hexdigest()

    a1, a2 = h(f"{user}:{fields['realm']}:{password}"), h(f"{method}:{uri}")
    line = f'Digest username="{user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="{uri}"'
    line += f", algorithm={fields['algorithm']}"
    if "qop" in fields:
        response = h(f"{a1}:{fields['nonce']}:00000001:abcdef:auth:{a2}")
        return f'{line}, qop=auth, nc=00000001, cnonce="abcdef", response="{response}"'
    response = h(f"{a1}:{fields['nonce']}:{a2}")
    return f'{line}, response="{response}"'
