"""Packets of one interface as pcap (draft-ietf-opsawg-pcap, link type Ethernet), bounded in time and bytes."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

_ETH_P_ALL = 3
_SNAP_BYTES = 256  # headers are what a support bundle is for; media stays out
_LINKTYPE_ETHERNET = 1
_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP_BYTES, _LINKTYPE_ETHERNET)


class NoSuchInterface(Exception):
    """There is no network interface of that name."""


def packets(interface: str, seconds: int, max_bytes: int) -> Iterator[bytes]:
    """The file head, then one record per packet. Raises NoSuchInterface, OSError."""
    if interface not in {name for _, name in socket.if_nameindex()}:
        raise NoSuchInterface(f"there is no interface {interface}")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL)) as raw:
        raw.bind((interface, _ETH_P_ALL))
        end = time.monotonic() + seconds
        sent = len(_HEAD)
        yield _HEAD
        while (left := end - time.monotonic()) > 0:
            raw.settimeout(left)
            try:
                packet = raw.recv(65_536)
            except TimeoutError:
                return
            now = time.time_ns()
            kept = packet[:_SNAP_BYTES]
            head = struct.pack("<IIII", now // 1_000_000_000, now // 1000 % 1_000_000, len(kept), len(packet))
            if sent + len(head) + len(kept) > max_bytes:
                return
            sent += len(head) + len(kept)
            yield head + kept
