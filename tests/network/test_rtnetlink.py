"""What we ask of rtnetlink and read from it, against pyroute2: VLANs need a kernel that few machines have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from hw import netlink
from recorderd.network import observed, rtnetlink
from recorderd.network.observed import Address, Path

REPLACING, MAKING = 0x504, 0x604  # NLM_F_ACK with CREATE and REPLACE, with CREATE and EXCL


def decoded(kind: type[nlmsg], body: bytes) -> dict[str, Any]:
    raw = netlink._HEADER.pack(16 + len(body), 16, 0, 1, 0) + body
    message = kind(raw)
    message.decode()
    return plain(message)


def plain(message: Any) -> dict[str, Any]:
    """A decoded message with its attributes beside its fields, nests as dictionaries."""
    fields = {key: value for key, value in message.items() if key not in ("attrs", "header")}
    nested = {name: plain(value) if hasattr(value, "get_attr") else value for name, value in message.get("attrs", ())}
    return fields | nested


Asked = list[tuple[int, int, bytes]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    requests: Asked = []

    async def ask(kind: int, flags: int, body: bytes) -> list[netlink.Message]:
        requests.append((kind, flags, body))
        return []

    monkeypatch.setattr(rtnetlink, "ask", ask)
    return requests


def body_of(asked: Asked, request: Coroutine[Any, Any, None], kind: int, flags: int = netlink.ACK) -> bytes:
    asyncio.run(request)
    ((got, with_flags, body),) = asked
    assert (got, with_flags) == (kind, flags)
    return body


def test_a_vlan_link(asked: Asked) -> None:
    said = decoded(ifinfmsg, body_of(asked, rtnetlink.add_vlan("eth0.7", 4, 7), 16, MAKING))
    assert (said["IFLA_IFNAME"], said["IFLA_LINK"], said["index"]) == ("eth0.7", 4, 0)
    assert said["IFLA_LINKINFO"]["IFLA_INFO_KIND"] == "vlan"
    assert said["IFLA_LINKINFO"]["IFLA_INFO_DATA"]["IFLA_VLAN_ID"] == 7


@pytest.mark.parametrize("vlan", [None, 1207])
def test_a_bridge(asked: Asked, vlan: int | None) -> None:
    said = decoded(ifinfmsg, body_of(asked, rtnetlink.add_link("br0", "bridge", untagged_vlan=vlan), 16, MAKING))
    info = said["IFLA_LINKINFO"]
    assert (said["IFLA_IFNAME"], info["IFLA_INFO_KIND"]) == ("br0", "bridge")
    if vlan is None:
        assert "IFLA_INFO_DATA" not in info
    else:
        assert info["IFLA_INFO_DATA"]["IFLA_BR_VLAN_FILTERING"] == 1
        assert info["IFLA_INFO_DATA"]["IFLA_BR_VLAN_DEFAULT_PVID"] == vlan


@pytest.mark.parametrize(
    ("request_", "kind", "expected"),
    [
        (lambda: rtnetlink.delete_link(9), 17, {"index": 9}),
        (lambda: rtnetlink.set_mtu(9, 1400), 16, {"index": 9, "IFLA_MTU": 1400, "change": 0}),
        (lambda: rtnetlink.set_up(9, up=True), 16, {"index": 9, "flags": 1, "change": 1}),
        (lambda: rtnetlink.set_up(9, up=False), 16, {"index": 9, "flags": 0, "change": 1}),
        (lambda: rtnetlink.set_master(9, 3), 16, {"index": 9, "IFLA_MASTER": 3}),
        (lambda: rtnetlink.set_isolated(9, isolated=True), 19, {"index": 9, "family": 7}),
    ],
)
def test_changes_of_links(
    asked: Asked, request_: Callable[[], Coroutine[Any, Any, None]], kind: int, expected: dict[str, Any]
) -> None:
    said = decoded(ifinfmsg, body_of(asked, request_(), kind))
    assert said | expected == said
    if kind == 19:
        assert said["IFLA_PROTINFO"]["IFLA_BRPORT_ISOLATED"] == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            Address("eth0", "192.0.2.5/24", scope=253, broadcast="192.0.2.255"),
            {
                "family": 2,
                "prefixlen": 24,
                "scope": 253,
                "IFA_LOCAL": "192.0.2.5",
                "IFA_ADDRESS": "192.0.2.5",
                "IFA_BROADCAST": "192.0.2.255",
            },
        ),
        (
            Address("eth0", "2001:db8::5/64", valid_s=600, preferred_s=300),
            {"family": 10, "prefixlen": 64, "IFA_ADDRESS": "2001:db8::5"},
        ),
    ],
)
def test_addresses(asked: Asked, address: Address, expected: dict[str, Any]) -> None:
    said = decoded(ifaddrmsg, body_of(asked, rtnetlink.add_address(4, address), 20, REPLACING))
    assert said | expected | {"index": 4} == said
    if address.valid_s is not None:
        times = said["IFA_CACHEINFO"]
        assert (times["ifa_valid"], times["ifa_preferred"]) == (600, 300)
    asked.clear()
    gone = decoded(ifaddrmsg, body_of(asked, rtnetlink.delete_address(4, address), 21))
    assert (gone["IFA_LOCAL"], gone["prefixlen"]) == (address.cidr.partition("/")[0], expected["prefixlen"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            Path("0.0.0.0/0", via="192.0.2.1", link="eth0", metric=50, protocol=212, source="192.0.2.5"),
            {
                "family": 2,
                "dst_len": 0,
                "proto": 212,
                "type": 1,
                "table": 254,
                "RTA_GATEWAY": "192.0.2.1",
                "RTA_PRIORITY": 50,
                "RTA_PREFSRC": "192.0.2.5",
                "RTA_OIF": 4,
            },
        ),
        (
            Path("2001:db8:1::/48", link="eth0", protocol=212, scope=253),
            {"family": 10, "dst_len": 48, "scope": 253, "RTA_DST": "2001:db8:1::", "RTA_OIF": 4},
        ),
    ],
)
def test_routes(asked: Asked, path: Path, expected: dict[str, Any]) -> None:
    said = decoded(rtmsg, body_of(asked, rtnetlink.add_path(4, path), 24, REPLACING))
    assert said | expected == said
    asked.clear()
    gone = decoded(rtmsg, body_of(asked, rtnetlink.delete_path(4, path), 25))
    assert gone["scope"] == (path.scope or 255)


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
