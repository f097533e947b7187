"""Addresses of 169.254/16 for a link: always the same ones for the same hardware (RFC 3927 section 2.1)."""

from __future__ import annotations

import hashlib
import ipaddress

FIRST = ipaddress.IPv4Address("169.254.1.0")
COUNT = 254 * 256  # 169.254.1.0 to 169.254.254.255; the first and last 256 are reserved


def candidate(mac: str, attempt: int) -> ipaddress.IPv4Address:
    """The `attempt`-th address to try for the link with this MAC, from 0."""
    seed = hashlib.sha256(f"{mac} {attempt}".encode("ascii")).digest()
    return FIRST + int.from_bytes(seed[:4], "big") % COUNT
