"""LLDP frames (IEEE 802.1AB) as cameras and switches send them: bytes in, who they say they are out. Strict and bounded."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

ETHERTYPE = 0x88CC
FRAME_MAX_BYTES = 1500
TEXT_MAX = 128
DOT3_POWER = b"\x00\x12\x0f\x02"  # IEEE 802.3 OUI, subtype Power via MDI (802.3 79.3.2)
MED_POWER = b"\x00\x12\xbb\x04"  # TIA OUI, subtype Extended Power via MDI (ANSI/TIA-1057)
MAX_REQUEST_MW = 99_900  # what a class 8 PD can name
MAC_SUBTYPES = {("chassis", 4), ("port", 3)}


class NotLldp(Exception):
    """Not a valid LLDP data unit; one line."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a neighbour says of itself. Text as it came, cut to 128 characters: whoever prints it escapes it."""

    chassis: str
    port: str
    ttl_s: int  # 0: the neighbour is leaving
    system: str = ""
    description: str = ""
    port_description: str = ""
    address: str = ""  # management address, IPv4 or IPv6
    requested_mw: int = 0  # power that a PD asks for at its input, 802.3 Power via MDI or LLDP-MED; 0: it asks for none


def parse(frame: bytes) -> Announcement:
    """`frame` begins after the Ethernet header. Raises NotLldp."""
    if len(frame) > FRAME_MAX_BYTES:
        raise NotLldp(f"{len(frame)} bytes")
    kinds: list[int] = []
    texts: dict[int, str] = {}
    identities: dict[str, str] = {}
    ttl = -1
    address = ""
    dot3_mw = med_mw = 0
    offset = 0
    while True:
        if offset + 2 > len(frame):
            raise NotLldp("it ends without an end TLV" if offset == len(frame) else "it ends inside a TLV")
        head = int.from_bytes(frame[offset : offset + 2], "big")
        kind, length = head >> 9, head & 0x1FF
        value = frame[offset + 2 : offset + 2 + length]
        if len(value) < length:
            raise NotLldp(f"TLV {kind} is longer than the frame")
        offset += 2 + length
        kinds.append(kind)
        if len(kinds) <= 3 and kind != len(kinds):
            raise NotLldp("it does not begin with chassis, port and time to live")
        if kind == 0:
            break
        if kind in (1, 2):
            name = "chassis" if kind == 1 else "port"
            if name in identities or len(value) < 2:
                raise NotLldp(f"{name} id twice or empty")
            identities[name] = _identity(name, value)
        elif kind == 3:
            if ttl >= 0 or length < 2:
                raise NotLldp("time to live twice or too short")
            ttl = int.from_bytes(value[:2], "big")
        elif kind in (4, 5, 6):
            texts.setdefault(kind, _text(value))
        elif kind == 8 and not address:
            address = _management(value)
        elif kind == 127 and value[:4] == DOT3_POWER:
            dot3_mw = _dot3_power(value[4:]) or dot3_mw
        elif kind == 127 and value[:4] == MED_POWER:
            med_mw = _med_power(value[4:]) or med_mw
    return Announcement(
        chassis=identities["chassis"],
        port=identities["port"],
        ttl_s=ttl,
        system=texts.get(5, ""),
        description=texts.get(6, ""),
        port_description=texts.get(4, ""),
        address=address,
        requested_mw=dot3_mw or med_mw,
    )


def _identity(name: str, value: bytes) -> str:
    subtype, body = value[0], value[1:]
    if (name, subtype) in MAC_SUBTYPES and len(body) == 6:
        return body.hex(":")
    return _text(body)


def _management(value: bytes) -> str:
    """TLV 8: length, family (IANA address family numbers), address, then what we do not need."""
    if not value or not 2 <= value[0] <= 32 or len(value) < 1 + value[0]:
        return ""
    family, body = value[1], value[2 : 1 + value[0]]
    if (family, len(body)) in {(1, 4), (2, 16)}:
        return str(ipaddress.ip_address(body))
    return ""


def _dot3_power(body: bytes) -> int:
    """MDI support, pair, class, type/source/priority, requested and allocated power in 0.1 W. Only a PD's request counts."""
    if len(body) < 8 or not body[3] & 0x40:
        return 0
    return min(int.from_bytes(body[4:6], "big") * 100, MAX_REQUEST_MW)


def _med_power(body: bytes) -> int:
    """Type, source and priority in one byte, power in 0.1 W. Type 1 is a PD."""
    if len(body) < 3 or body[0] >> 6 != 1:
        return 0
    return min(int.from_bytes(body[1:3], "big") * 100, MAX_REQUEST_MW)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip("\0 \t\r\n")[:TEXT_MAX]
