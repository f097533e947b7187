"""The uplink's lease: busybox's udhcpc, run as its unit says, against a real dnsmasq; and what happens without a server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from recorderd.model.network import IPv4Mode, IPv6Mode, NetworkWish, Uplink, UplinkIPv4, UplinkIPv6
from recorderd.network.linklocal import candidate
from recorderd.network.services import DHCP, lease_fields
from tests.network.eventually import until
from tests.network.namespaces import Lab, run
from tests.network.processes import ProcessUnits
from tests.network.room import Room

OFF = UplinkIPv6(mode=IPv6Mode.OFF)


def addresses() -> list[dict]:
    shown = json.loads(run("ip", "-4", "-j", "addr", "show", "dev", "eth0").stdout)
    return [address for link in shown for address in link.get("addr_info", ())]


def serve(lab: Lab, folder: Path) -> None:
    lab.inside("u", "ip", "addr", "replace", "10.1.0.1/24", "dev", "eth0")
    options = "--port=0 --interface=eth0 --bind-interfaces --user=root --no-ping --log-facility=/dev/null --conf-file=/dev/null"
    told = "--dhcp-option=option:ntp-server,10.1.0.7 --dhcp-option=option:dns-server,10.1.0.8,10.1.0.9 --domain=site.example"
    lease = (
        f"--dhcp-range=10.1.0.50,10.1.0.60,2m --dhcp-leasefile={folder}/server-leases --pid-file={folder}/server.pid"
    )
    lab.start("u", "dnsmasq", "--keep-in-foreground", *options.split(), *told.split(), *lease.split())


def test_a_lease_is_taken_kept_and_given_up(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    units = ProcessUnits(tmp_path, only=frozenset({DHCP}))
    room.transactions._units = units
    lease = tmp_path / "run-dhcp/lease"

    async def story() -> None:
        await asyncio.to_thread(serve, lab, tmp_path)
        await room.settle(NetworkWish(uplink=Uplink(interface="eth0", ipv6=OFF)))
        await until(lambda: lease.exists() and "state bound" in lease.read_text(), within_s=15)
        fields = lease_fields(lease.read_text())
        assert fields["ip"].startswith("10.1.0.")
        assert (fields["router"], fields["dns"], fields["ntp"]) == ("10.1.0.1", "10.1.0.8 10.1.0.9", "10.1.0.7")
        assert fields["domain"] == "site.example"
        (own,) = addresses()
        assert own["local"] == fields["ip"]
        assert own["dynamic"]
        assert 0 < own["valid_life_time"] <= 120
        (route,) = json.loads(run("ip", "-j", "route", "show", "default").stdout)
        assert (route["gateway"], route["protocol"], route["metric"]) == ("10.1.0.1", "dhcp", 100)
        # The lease belongs to its client: neither a plan nor a repair touches it.
        assert not (await room.transactions.preview(NetworkWish(uplink=Uplink(interface="eth0", ipv6=OFF)))).plan.steps
        # Static instead: the client goes, and its address with it.
        fixed = UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.1.0.200/24",), gateway="10.1.0.1")
        await room.settle(NetworkWish(uplink=Uplink(interface="eth0", ipv4=fixed, ipv6=OFF)))
        assert [a["local"] for a in addresses()] == ["10.1.0.200"]
        assert not await units.active(DHCP)

    try:
        asyncio.run(story())
    finally:
        units.end()


def test_without_a_server_the_fall_back_holds_until_one_comes(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    units = ProcessUnits(tmp_path, only=frozenset({DHCP}), instead={"-T 2 -A 20": "-T 1 -A 3"})
    room.transactions._units = units
    taken = candidate("02:00:00:00:00:00", 0)  # the first choice is somebody else's
    lab.inside("u", "ip", "addr", "add", f"{taken}/16", "dev", "eth0")
    expected = str(candidate("02:00:00:00:00:00", 1))
    wish = NetworkWish(
        uplink=Uplink(interface="eth0", ipv4=UplinkIPv4(addresses=("192.168.9.5/24",), static_fallback=True), ipv6=OFF)
    )

    async def story() -> None:
        await room.settle(wish)
        await until(lambda: {expected, "192.168.9.5"} <= {a["local"] for a in addresses()}, within_s=25)
        assert str(taken) not in {a["local"] for a in addresses()}
        assert all(a["dynamic"] for a in addresses())
        assert not (await room.transactions.preview(wish)).plan.steps
        await asyncio.to_thread(serve, lab, tmp_path)
        await until(lambda: [a["local"][:7] for a in addresses()] == ["10.1.0."], within_s=35)

    try:
        asyncio.run(story())
    finally:
        units.end()
