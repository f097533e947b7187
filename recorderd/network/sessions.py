"""Who is logged in over the network: peers of established connections to the SSH port. Their switch ports are never power-cycled."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from pathlib import Path

ESTABLISHED = "01"
FILE_MAX_BYTES = 1 << 20


def ssh_peers(ports: Collection[int], proc: Path = Path("/proc/self/net")) -> frozenset[str]:
    """Addresses of the other ends (proc(5), /proc/net/tcp). Reads at most 1 MiB of each table."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            with (proc / name).open(encoding="ascii", errors="replace") as file:
                lines = file.read(FILE_MAX_BYTES).splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) < 4 or words[3] != ESTABLISHED:
                continue
            _, _, port = words[1].rpartition(":")
            if int(port, 16) in ports:
                found.add(_address(words[2].rpartition(":")[0]))
    return frozenset(found)


def _address(digits: str) -> str:
    """The kernel prints the words of an address in its own byte order."""
    words = [socket.ntohl(int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, "big") for word in words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
