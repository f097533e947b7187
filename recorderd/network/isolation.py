"""The packet filter that keeps cameras to themselves: our table `inet recorderd`, as libnftables JSON.

Theory of operation. Between ports of one bridge nothing is routed, so camera to camera is stopped where the frames pass: ports are
*isolated* (bridge port flag), which the kernel or the switch chip enforces. Everything else passes the recorder's IP layer and meets
this table. Chains `input` and `forward` have policy accept, because the uplink is not ours to filter; what comes from the camera LAN is
sent to `from_cameras` and `through_cameras`, which end in drop. From the cameras, the recorder accepts answers to what it began itself
(`ct direction reply`, so that a connection opened before the table was loaded is cut), DHCP, NTP, IPv6 neighbour discovery, and the
explicit openings. Interfaces are matched by name, so the table holds before the bridge exists and when a port has left it.

The objects are written as `nft -j list` writes them, so that wish and kernel can be compared.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from recorderd.model.network import CameraLan, NetworkWish, Opening, Reach
from recorderd.network.check import interface_of
from recorderd.network.filter import FAMILY, TABLE
from recorderd.network.goal import uplink_link

Json = dict[str, Any]
DHCP_SERVER, DHCP_CLIENT, NTP = 67, 68, 123
DNS = 53
NEIGHBOUR = ("nd-neighbor-solicit", "nd-neighbor-advert")


def ruleset(wish: NetworkWish) -> str:
    """JSON array of the objects to add; empty without a camera LAN or without isolation."""
    if wish.cameras is None or not wish.cameras.isolate:
        return ""
    cameras = wish.cameras
    inside = sorted({cameras.bridge, *cameras.ports})
    outside = uplink_link(wish.uplink) if wish.uplink is not None else ""
    objects: list[Json] = [
        {"table": {"family": FAMILY, "name": TABLE}},
        _hook("input", -10),
        _hook("forward", -10),
        _chain("from_cameras"),
        _chain("through_cameras"),
    ]
    opened = [opening for opening in cameras.allow if opening.reach is Reach.UPLINK] if outside else []
    if opened:
        objects.append(_hook("outward", 100, kind="nat", hook="postrouting"))
    objects.append(_rule("input", _is("meta", "iifname", inside), {"jump": {"target": "from_cameras"}}))
    objects += [
        _rule("forward", _is("meta", "iifname", inside), {"jump": {"target": "through_cameras"}}),
        _rule("forward", _is("meta", "oifname", inside), {"jump": {"target": "through_cameras"}}),
    ]
    objects += [_rule("from_cameras", *matches) for matches in _accepted(cameras)]
    objects.append(_rule("from_cameras", _counter(), {"drop": None}))
    for opening in opened:
        wanted = _opening(opening)
        objects.append(
            _rule(
                "through_cameras", _is("meta", "iifname", inside), _is("meta", "oifname", outside), *wanted, _accept()
            )
        )
    if opened:
        answers = [_is("ct", "direction", "reply"), _in("ct", "state", ["established", "related"])]
        objects.append(_rule("through_cameras", _is("meta", "oifname", inside), *answers, _accept()))
    objects.append(_rule("through_cameras", _counter(), {"drop": None}))
    if opened:
        source = _prefix("ip", "saddr", str(interface_of(cameras.address).network))
        objects.append(_rule("outward", source, _is("meta", "oifname", outside), {"masquerade": None}))
    return json.dumps(objects)


def _accepted(cameras: CameraLan) -> list[tuple[Json, ...]]:
    own = interface_of(cameras.address).network
    lines: list[tuple[Json, ...]] = [
        (_is("ct", "direction", "reply"), _in("ct", "state", ["established", "related"]), _accept()),
    ]
    if cameras.dhcp:
        lines.append((_port("udp", "sport", DHCP_CLIENT), _port("udp", "dport", DHCP_SERVER), _accept()))
    lines.append((_field("icmpv6", "type", {"set": list(NEIGHBOUR)}), _field("ip6", "hoplimit", 255), _accept()))
    lines.append((_prefix("ip", "saddr", str(own), op="!="), _counter(), {"drop": None}))
    if cameras.ntp:
        lines.append((_port("udp", "dport", NTP), _accept()))
    lines += [(*_opening(o), _accept()) for o in cameras.allow if o.reach is Reach.RECORDER]
    return lines


def _opening(opening: Opening) -> list[Json]:
    matches = []
    if opening.source:
        matches.append(_network_match("saddr", opening.source))
    if opening.destination:
        matches.append(_network_match("daddr", opening.destination))
    if opening.port:
        matches.append(_port(opening.protocol, "dport", opening.port))
    elif opening.protocol:
        matches.append(_is("meta", "l4proto", opening.protocol))
    return matches


def _network_match(field: str, text: str) -> Json:
    network = ipaddress.ip_network(text)
    family = "ip" if network.version == 4 else "ip6"
    if network.prefixlen == network.max_prefixlen:
        return _field(family, field, str(network.network_address))
    return _prefix(family, field, text)


def _chain(name: str) -> Json:
    return {"chain": {"family": FAMILY, "table": TABLE, "name": name}}


def _hook(name: str, priority: int, *, kind: str = "filter", hook: str = "") -> Json:
    base = {"type": kind, "hook": hook or name, "prio": priority, "policy": "accept"}
    return {"chain": {"family": FAMILY, "table": TABLE, "name": name, **base}}


def _rule(chain: str, *expressions: Json) -> Json:
    return {"rule": {"family": FAMILY, "table": TABLE, "chain": chain, "expr": list(expressions)}}


def _match(left: Json, right: Any, op: str = "==") -> Json:  # noqa: ANN401  JSON
    return {"match": {"op": op, "left": left, "right": right}}


def _is(kind: str, key: str, value: str | list[str]) -> Json:
    right: Any = value
    if isinstance(value, list):
        right = {"set": value} if len(value) > 1 else value[0]
    return _match({kind: {"key": key}}, right)


def _in(kind: str, key: str, values: list[str]) -> Json:
    return _match({kind: {"key": key}}, values, op="in")


def _field(protocol: str, field: str, right: Any) -> Json:  # noqa: ANN401  JSON
    return _match({"payload": {"protocol": protocol, "field": field}}, right)


def _port(protocol: str, field: str, port: int) -> Json:
    return _field(protocol, field, port)


def _prefix(protocol: str, field: str, network: str, op: str = "==") -> Json:
    address, _, length = network.partition("/")
    left = {"payload": {"protocol": protocol, "field": field}}
    return _match(left, {"prefix": {"addr": address, "len": int(length)}}, op)


def _accept() -> Json:
    return {"accept": None}


def _counter() -> Json:
    return {"counter": {"packets": 0, "bytes": 0}}
