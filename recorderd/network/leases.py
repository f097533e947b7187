"""dnsmasq's lease file: one line per lease, `expiry MAC address name client-id` (dnsmasq(8), --dhcp-leasefile). Bounded and strict."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from recorderd.network.check import MAC

FILE_MAX_BYTES = 256 * 1024
NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Lease:
    mac: str
    address: str
    name: str  # what the camera calls itself; empty where it says nothing
    expires_s: int  # wall, since 1970; 0: never


def parse(text: str) -> tuple[Lease, ...]:
    """IPv4 leases in the file's order. Lines that are not one are skipped (the file also has a DUID line and IPv6 leases)."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or not words[0].isdigit() or not MAC.fullmatch(words[1]):
            continue
        try:
            address = ipaddress.IPv4Address(words[2])
        except ValueError:
            continue
        name = "" if words[3] == "*" else words[3][:NAME_MAX]
        found.append(Lease(words[1], str(address), name, int(words[0])))
    return tuple(found)


def read(path: Path) -> tuple[Lease, ...]:
    """The leases in `path`; none where there is no file. Reads at most 256 KiB."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return parse(file.read(FILE_MAX_BYTES))
    except FileNotFoundError:
        return ()
