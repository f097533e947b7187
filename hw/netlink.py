"""netlink(7), as much of it as the recorder needs: messages and attributes, and one request with its answer.

The kernel's tables of links, addresses, routes and neighbours are read this way by every recorder. pyroute2, which knows all of netlink,
takes ten megabytes for as long as the process lives: it is loaded where the network is managed and where the kernel drives the PSE.

A message is `struct nlmsghdr` (16 bytes: length, type, flags, sequence, port) and a body: a fixed header of its type, then attributes, each
u16 length and u16 type, padded to 4. All numbers are in the byte order of the machine.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

REQUEST, ACK, DUMP = 0x01, 0x04, 0x300
REPLACE = 0x100
_ERROR, _DONE = 2, 3
_MULTI_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_TYPE_MASK = 0x3FFF  # the two bits above say how the attribute is to be read

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
NDMSG = struct.Struct("=BxxxiHBB")  # what a message about a neighbour begins with: family, link, state, flags, type
_DATAGRAM_BYTES = 64 * 1024
_ANSWER_MAX_BYTES = 32 << 20
_DUMP_ATTEMPTS = 5
TIMEOUT_S = 5.0


class Message(NamedTuple):
    """One message of the kernel; `body` begins with the fixed header of its type."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def parse(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. What does not fit its own length ends it."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        yield Message(kind, flags, sequence, data[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on, by type. Of a type that comes twice the last counts; what is malformed ends it."""
    found = {}
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size or offset + length > len(data):
            break
        found[kind & _TYPE_MASK] = data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def number(data: bytes | None, default: int = 0) -> int:
    """An unsigned number of 1, 2, 4 or 8 bytes; `default` where there is none."""
    return int.from_bytes(data, sys.byteorder) if data else default


def text(data: bytes | None) -> str:
    """A string that may end with a NUL."""
    return data.partition(b"\0")[0].decode("utf-8", "replace") if data else ""


def attribute(kind: int, value: bytes | int) -> bytes:
    """One attribute, padded. A number takes four bytes."""
    if isinstance(value, int):
        value = value.to_bytes(4, sys.byteorder)
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


class Answer:
    """Collects what the kernel answers to the request of that sequence number, datagram by datagram."""

    def __init__(self, sequence: int) -> None:
        self._sequence = sequence
        self._bytes = 0
        self.messages: list[Message] = []

    def feed(self, data: bytes) -> bool:
        """True: that was all. Raises `OSError` with what the kernel refused it for, EINTR when a dump changed on the way."""
        self._bytes += len(data)
        if self._bytes > _ANSWER_MAX_BYTES:
            raise OSError(errno.EMSGSIZE, "the kernel's answer is too long")
        for message in parse(data):
            if message.sequence != self._sequence:
                continue
            if message.flags & _MULTI_INTERRUPTED:
                raise OSError(errno.EINTR, os.strerror(errno.EINTR))
            if message.kind in (_ERROR, _DONE):
                code = -struct.unpack_from("=i", message.body)[0] if len(message.body) >= 4 else 0
                if code:
                    raise OSError(code, os.strerror(code))
                return True
            self.messages.append(message)
        return False


_SEQUENCE = 1  # a socket carries one request


def _asking(protocol: int, kind: int, flags: int, body: bytes) -> socket.socket:
    """A socket of its own on which the request has been sent."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        sock.bind((0, 0))
        sock.send(HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, _SEQUENCE, 0) + body)
    except OSError:
        sock.close()
        raise
    return sock


async def ask(kind: int, flags: int, body: bytes, *, protocol: int = socket.NETLINK_ROUTE) -> list[Message]:
    """One request on the loop and all messages of its answer. `flags` have `DUMP` or `ACK`, which is how the end is known.

    Raises `OSError` with the kernel's number, `TimeoutError` after `TIMEOUT_S`.
    """
    loop = asyncio.get_running_loop()
    with _asking(protocol, kind, flags, body) as sock:
        sock.setblocking(False)
        answer = Answer(_SEQUENCE)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                over = False
                while not over:
                    over = answer.feed(await loop.sock_recv(sock, _DATAGRAM_BYTES))
                    await asyncio.sleep(0)
        except TimeoutError as error:
            raise TimeoutError(errno.ETIMEDOUT, "the kernel does not answer") from error
    return answer.messages


async def dump(kind: int, body: bytes) -> list[Message]:
    """One consistent reading of a table of rtnetlink(7): read again when something changed in the middle of it."""
    for _ in range(_DUMP_ATTEMPTS - 1):
        try:
            return await ask(kind, DUMP, body)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise
    return await ask(kind, DUMP, body)
