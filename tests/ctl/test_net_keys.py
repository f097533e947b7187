"""`recorderctl net set`: keys and values as people write them, and what is said when they are wrong."""

from __future__ import annotations

import msgspec
import pytest

from recorderd.ctl.net_keys import changed, flat
from recorderd.ctl.session import Failure
from recorderd.model.network import (
    CameraLan,
    IPv4Mode,
    NetworkWish,
    Opening,
    Reach,
    Route,
    Uplink,
    UplinkIPv4,
)


def test_what_is_written_is_what_is_meant() -> None:
    wish = changed(
        NetworkWish(),
        [
            "uplink.interface=eth0",
            "uplink.ipv4.mode=static",
            "uplink.ipv4.addresses=192.168.1.5/24, 192.168.1.6/24",
            "cameras.ports=lan1,lan2",
            "cameras.isolate=no",
            "cameras.dhcp_lease_s=600",
            "cameras.labels=lan1=1,lan2=2",
            "cameras.allow=reach:uplink,source:192.168.50.9,protocol:tcp,port:443;reach:recorder",
            "routes=to:10.0.0.0/8,via:192.168.1.1",
            "dns.servers=9.9.9.9",
        ],
    )
    assert wish.uplink == Uplink(
        interface="eth0",
        ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("192.168.1.5/24", "192.168.1.6/24")),
    )
    assert wish.cameras == CameraLan(
        ports=("lan1", "lan2"),
        isolate=False,
        dhcp_lease_s=600,
        labels={"lan1": "1", "lan2": "2"},
        allow=(
            Opening(reach=Reach.UPLINK, source="192.168.50.9", protocol="tcp", port=443),
            Opening(reach=Reach.RECORDER),
        ),
    )
    assert wish.routes == (Route(to="10.0.0.0/8", via="192.168.1.1"),)
    shown = flat(msgspec.to_builtins(wish))
    again = changed(NetworkWish(), [f"{key}={value}" for key, value in shown if value])
    assert again == wish
    assert changed(wish, ["cameras=", "uplink.ipv4.addresses="]).cameras is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("uplink", "KEY=VALUE is expected"),
        ("uplnk.interface=eth0", "unknown key; known here: hostname"),
        ("uplink.ipv4.mode=dhpc", "allowed are dhcp, static, off, not dhpc"),
        ("uplink.vlan=ten", "a number is expected, not ten"),
        ("cameras.isolate=perhaps", "yes or no is expected"),
        ("uplink=eth0", "set its keys one by one"),
        ("uplink.vlan=3", "missing required field `interface`"),
        ("hostname.x=1", "has no keys of its own"),
        ("routes=10.0.0.0/8", "NAME:VALUE is expected"),
    ],
)
def test_what_is_wrong_is_said(change: str, sentence: str) -> None:
    with pytest.raises(Failure) as caught:
        changed(NetworkWish(), [change])
    assert sentence in str(caught.value)
    assert caught.value.exit_code == 64
