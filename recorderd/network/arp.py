"""ARP packets (RFC 826): who claims which IPv4 address. Bytes in, a claim out."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

ETHERTYPE = 0x0806
ETHERNET_IPV4 = bytes.fromhex("0001080006040001")[:6]  # hardware 1, protocol 0x0800, lengths 6 and 4


@dataclass(frozen=True, slots=True)
class Claim:
    """`mac` says that it has `address`; with `probe` it only asks whether someone else has (RFC 5227)."""

    mac: str
    address: str
    probe: bool = False


def parse(packet: bytes) -> Claim | None:
    """`packet` begins after the Ethernet header. None for anything but a request or reply for IPv4 over Ethernet."""
    if len(packet) < 28 or packet[:6] != ETHERNET_IPV4 or packet[6] != 0 or packet[7] not in (1, 2):
        return None
    mac = packet[8:14]
    if mac[0] & 1 or mac == bytes(6):
        return None
    sender, target = packet[14:18], packet[24:28]
    if sender == bytes(4):
        return Claim(mac.hex(":"), str(ipaddress.IPv4Address(target)), probe=True)
    return Claim(mac.hex(":"), str(ipaddress.IPv4Address(sender)))
