"""The PSE messages of the kernel's ethtool family of generic netlink (linux/ethtool_netlink.h), and how to find that family."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from hw import netlink

PSE_GET = 36
PSE_SET = 37
FAMILY = "ethtool"
NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2  # linux/genetlink.h

_HEADER, _HEADER_DEV_NAME = 1, 2
_GENLMSGHDR = struct.Struct("=BBxx")  # command, version
_NAMES = (
    "UNSPEC",
    "HEADER",
    "PODL_ADMIN_STATE",
    "PODL_ADMIN_CONTROL",
    "PODL_STATUS",
    "ADMIN_STATE",
    "ADMIN_CONTROL",
    "STATUS",
    "CLASS",
    "ACTUAL_POWER",
    "EXT_STATE",
    "EXT_SUBSTATE",
    "LIMIT",
    "LIMIT_RANGES",
    "DOMAIN",
    "PRIORITY_MAX",
    "PRIORITY",
)
"""ETHTOOL_A_PSE_*, by number. Later kernels may add more, which are ignored."""
_NO_NUMBERS = {"UNSPEC", "HEADER", "LIMIT_RANGES"}


def family_request() -> bytes:
    """Asks the controller of generic netlink for the number of `FAMILY`."""
    return _GENLMSGHDR.pack(CTRL_CMD_GETFAMILY, 1) + netlink.attribute(CTRL_ATTR_FAMILY_NAME, FAMILY)


def family_number(answer: bytes) -> int:
    """0: it does not say."""
    return netlink.number(netlink.attributes(answer, _GENLMSGHDR.size).get(CTRL_ATTR_FAMILY_ID))


def message(command: int, netdev: str, settings: Mapping[str, int]) -> bytes:
    """The body of a request, `settings` by the names above."""
    body = _GENLMSGHDR.pack(command, 1) + netlink.nest(_HEADER, netlink.attribute(_HEADER_DEV_NAME, netdev))
    return body + b"".join(netlink.attribute(_NAMES.index(name), value) for name, value in settings.items())


def attributes(answer: bytes) -> dict[str, int]:
    """The plain numbers of an answer's body, by the names above."""
    said = netlink.attributes(answer, _GENLMSGHDR.size)
    return {
        name: netlink.number(said[number])
        for number, name in enumerate(_NAMES)
        if number in said and name not in _NO_NUMBERS and len(said[number]) == 4
    }
