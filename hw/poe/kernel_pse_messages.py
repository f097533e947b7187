"""The PSE messages of the kernel's ethtool netlink family (linux/ethtool_netlink.h), which pyroute2 does not have."""

from __future__ import annotations

from pyroute2.netlink import NLA_F_NESTED, genlmsg, nla

PSE_GET = 36
PSE_SET = 37
FAMILY = "ethtool"


class PseMessage(genlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """Attributes 1 to 16; later kernels may add more, which are ignored."""

    prefix = "ETHTOOL_A_"
    nla_map = (
        ("ETHTOOL_A_UNSPEC", "none"),
        ("ETHTOOL_A_HEADER", "device"),
        ("ETHTOOL_A_PODL_ADMIN_STATE", "uint32"),
        ("ETHTOOL_A_PODL_ADMIN_CONTROL", "uint32"),
        ("ETHTOOL_A_PODL_STATUS", "uint32"),
        ("ETHTOOL_A_ADMIN_STATE", "uint32"),
        ("ETHTOOL_A_ADMIN_CONTROL", "uint32"),
        ("ETHTOOL_A_STATUS", "uint32"),
        ("ETHTOOL_A_CLASS", "uint32"),
        ("ETHTOOL_A_ACTUAL_POWER", "uint32"),
        ("ETHTOOL_A_EXT_STATE", "uint32"),
        ("ETHTOOL_A_EXT_SUBSTATE", "uint32"),
        ("ETHTOOL_A_LIMIT", "uint32"),
        ("ETHTOOL_A_LIMIT_RANGES", "*ranges"),
        ("ETHTOOL_A_DOMAIN", "uint32"),
        ("ETHTOOL_A_PRIORITY_MAX", "uint32"),
        ("ETHTOOL_A_PRIORITY", "uint32"),
    )

    class device(nla):  # type: ignore[misc]  # noqa: N801 -- pyroute2 finds nests by this name
        nla_flags = NLA_F_NESTED
        nla_map = (
            ("HEADER_UNSPEC", "none"),
            ("HEADER_DEV_INDEX", "uint32"),
            ("HEADER_DEV_NAME", "asciiz"),
            ("HEADER_FLAGS", "uint32"),
        )

    class ranges(nla):  # type: ignore[misc]  # noqa: N801 -- as above
        nla_flags = NLA_F_NESTED
        nla_map = (("RANGE_UNSPEC", "none"), ("RANGE_MIN", "uint32"), ("RANGE_MAX", "uint32"))


def message(command: int, netdev: str, settings: dict[str, int]) -> PseMessage:
    made = PseMessage()
    made["cmd"] = command
    made["version"] = 1
    made["attrs"] = [
        ("ETHTOOL_A_HEADER", {"attrs": [("HEADER_DEV_NAME", netdev)]}),
        *((f"ETHTOOL_A_{name}", value) for name, value in settings.items()),
    ]
    return made


def attributes(answer: PseMessage) -> dict[str, int]:
    """The plain numbers of an answer, by the names above without their prefix."""
    prefix = len("ETHTOOL_A_")
    return {
        name[prefix:]: value
        for name, value in answer["attrs"]
        if isinstance(value, int) and name.startswith("ETHTOOL_A_")
    }
