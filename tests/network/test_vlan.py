"""VLANs need kernel parts that some machines lack: where they are there the real thing is run, where not one clear line is wanted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from recorderd.model.network import CameraLan, IPv4Mode, IPv6Mode, NetworkWish, Uplink, UplinkIPv4, UplinkIPv6
from recorderd.network.transaction import Undone
from tests.network.namespaces import Lab, differences, links, picture, run
from tests.network.room import FORMER, Room

TAGGED = NetworkWish(
    uplink=Uplink(
        interface="eth0",
        vlan=30,
        ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.30.0.5/24",), gateway="10.30.0.1"),
        ipv6=UplinkIPv6(mode=IPv6Mode.OFF),
    )
)
AWARE = msgspec.structs.replace(
    FORMER,
    cameras=CameraLan(ports=("lan1", "lan2"), bridge="cams", vlan_aware=True, vlan=20, isolate=False),
)
# Without the packet filter: the User-mode Linux kernel that has VLANs has no nftables for `inet`.
PLAIN = msgspec.structs.replace(FORMER, cameras=CameraLan(ports=("lan1",), isolate=False))


def vlan_works() -> bool:
    works = (
        run("ip", "link", "add", "link", "eth0", "name", "probe", "type", "vlan", "id", "9", check=False).returncode
        == 0
    )
    run("ip", "link", "del", "probe", check=False)
    return works


def filtering_works() -> bool:
    run("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1", check=False)
    (probe,) = [link for link in links() if link["ifname"] == "probe"] or [{}]
    run("ip", "link", "del", "probe", check=False)
    return probe.get("linkinfo", {}).get("info_data", {}).get("vlan_filtering") == 1


@pytest.mark.parametrize(("wish", "part"), [(TAGGED, "802.1Q VLANs (8021q)"), (AWARE, "VLAN filtering in bridges")])
def test_a_kernel_without_it_says_so_in_one_line(lab: Lab, tmp_path: Path, wish: NetworkWish, part: str) -> None:
    if vlan_works() if wish is TAGGED else filtering_works():
        pytest.skip("needs a kernel without VLANs")
    room = Room(tmp_path)
    before = picture()
    with pytest.raises(Undone) as caught:
        asyncio.run(room.transactions.apply(wish))
    assert f"this kernel has no {part}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert picture() == before


def there_and_back(lab: Lab, folder: Path, wish: NetworkWish) -> dict:
    """Applied, undone, applied and confirmed, set up again at boot."""
    room = Room(folder)
    asyncio.run(room.settle(PLAIN))
    before = picture()
    asyncio.run(room.transactions.apply(wish))
    room.expire()
    said = asyncio.run(room.timer.guard("tick"))
    assert not differences(picture(), before), said
    asyncio.run(room.settle(wish))
    assert not asyncio.run(room.transactions.preview(wish)).plan.steps
    after = picture()
    lab.power_cut()
    asyncio.run(room.timer.guard("boot"))
    assert not differences(picture(), after)
    asyncio.run(room.settle(PLAIN))
    assert not differences(picture(), before)
    return after


def test_a_tagged_uplink(lab: Lab, tmp_path: Path) -> None:
    if not vlan_works():
        pytest.skip("needs a kernel with 802.1Q VLANs")
    after = there_and_back(lab, tmp_path, TAGGED)
    assert after["links"]["eth0.30"]["kind"] == "vlan"
    assert [a["local"] for a in after["links"]["eth0.30"]["addresses"]] == ["10.30.0.5"]
    assert [(r["dst"], r["dev"]) for r in after["routes"]] == [("default", "eth0.30")]


def test_a_vlan_aware_camera_lan(lab: Lab, tmp_path: Path) -> None:
    if not filtering_works():
        pytest.skip("needs a kernel with VLAN filtering in bridges")
    there_and_back(lab, tmp_path, AWARE)
    asyncio.run(Room(tmp_path).settle(AWARE))
    vlans = {port["ifname"]: port["vlans"] for port in json.loads(run("bridge", "-j", "vlan", "show").stdout)}
    for port in ("lan1", "lan2"):
        assert [(v["vlan"], "PVID" in v["flags"]) for v in vlans[port]] == [(20, True)]
