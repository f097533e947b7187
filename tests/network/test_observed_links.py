"""What we read from rtnetlink, against pyroute2: VLANs and DSA need a kernel that few machines have."""

from __future__ import annotations

from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from hw import netlink
from recorderd.network import observed


def encoded(message: nlmsg) -> netlink.Message:
    message.encode()
    (found,) = netlink.parse(bytes(message.data))
    return found


def link_message(index: int, name: str, info: list[tuple[str, Any]], **numbers: int) -> netlink.Message:
    message = ifinfmsg()
    message["index"], message["flags"] = index, 1
    attributes: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", 1500), ("IFLA_CARRIER", 1)]
    attributes += [(f"IFLA_{key.upper()}", value) for key, value in numbers.items()]
    message["attrs"] = [*attributes, ("IFLA_LINKINFO", {"attrs": info})]
    return encoded(message)


def test_links_of_kinds_that_this_machine_may_not_have() -> None:
    filtering = {"attrs": [("IFLA_BR_VLAN_FILTERING", 1), ("IFLA_BR_VLAN_DEFAULT_PVID", 12)]}
    messages = [
        link_message(4, "eth0", []),
        link_message(
            5, "eth0.7", [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", {"attrs": [("IFLA_VLAN_ID", 7)]})], link=4
        ),
        link_message(6, "br0", [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", filtering)]),
        link_message(
            7,
            "lan1",
            [
                ("IFLA_INFO_KIND", "dsa"),
                ("IFLA_INFO_SLAVE_KIND", "bridge"),
                ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_ISOLATED", 1)]}),
            ],
            link=4,
            master=6,
        ),
    ]
    eth0, vlan, bridge, port = observed.links(messages)
    assert (eth0.kind, eth0.up, eth0.carrier, eth0.mtu, eth0.isolated) == ("", True, True, 1500, None)
    assert (vlan.kind, vlan.parent, vlan.vlan) == ("vlan", "eth0", 7)
    assert (bridge.kind, bridge.vlan_filtering, bridge.vlan) == ("bridge", True, 12)
    assert (port.kind, port.parent, port.master, port.isolated, port.vlan) == ("dsa", "eth0", "br0", True, 0)
