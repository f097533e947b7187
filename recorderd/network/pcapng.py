"""pcap as the helper sends it, turned into pcapng (draft-ietf-opsawg-pcapng): bytes in, bytes out, in pieces of any size."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PCAP_HEAD = struct.Struct("<IHHiIII")
PCAP_MAGIC = 0xA1B2C3D4  # microseconds, little endian
PCAP_RECORD = struct.Struct("<IIII")
RECORD_MAX_BYTES = 262_144


class NotPcap(Exception):
    """The bytes are no pcap; one line."""


class Converter:
    """`feed` yields pcapng blocks as they become complete. The interface is named in the file."""

    def __init__(self, interface: str) -> None:
        self._interface = interface.encode()
        self._held = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises NotPcap."""
        self._held += data
        if not self._begun:
            if len(self._held) < PCAP_HEAD.size:
                return
            magic, _, _, _, _, snap, link_type = PCAP_HEAD.unpack_from(self._held)
            if magic != PCAP_MAGIC:
                raise NotPcap(f"it begins with {magic:08x}")
            del self._held[: PCAP_HEAD.size]
            self._begun = True
            yield _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
            yield _block(1, struct.pack("<HHI", link_type, 0, snap) + _option(2, self._interface) + _option(0, b""))
        while len(self._held) >= PCAP_RECORD.size:
            seconds, micros, kept, length = PCAP_RECORD.unpack_from(self._held)
            if kept > RECORD_MAX_BYTES:
                raise NotPcap(f"a packet of {kept} bytes")
            end = PCAP_RECORD.size + kept
            if len(self._held) < end:
                return
            packet = bytes(self._held[PCAP_RECORD.size : end])
            del self._held[:end]
            at = seconds * 1_000_000 + micros
            yield _block(6, struct.pack("<IIIII", 0, at >> 32, at & 0xFFFFFFFF, kept, length) + _padded(packet))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
