"""Cameras that try to get out: real packets through real bridges and filters. Every probe is shown to work where it is allowed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from recorderd.model.network import (
    CameraLan,
    IPv4Mode,
    IPv6Mode,
    NetworkWish,
    Opening,
    Reach,
    Uplink,
    UplinkIPv4,
    UplinkIPv6,
)
from recorderd.network import isolation
from recorderd.network.filter import canonical, listing, load
from recorderd.network.services import CHRONY, DNSMASQ
from tests.network.namespaces import Lab, run
from tests.network.processes import ProcessUnits
from tests.network.room import Room

HERE = Path(__file__).parent
OWN = "192.168.50.1"
UPLINK_HOST = "10.1.0.1"
CAMERAS = {"c1": "192.168.50.101", "c2": "192.168.50.102"}
SERVICES = (22, 80, 443, 554)

# What c1 may want to reach: its neighbour, the recorder's services on both its addresses, a host behind the uplink.
ALL = [
    f"ping:{CAMERAS['c2']}",
    f"tcp:{CAMERAS['c2']}:80",
    f"udp:{CAMERAS['c2']}:80",
    f"ping:{OWN}",
    *(f"tcp:{address}:{port}" for address in (OWN, "10.1.0.5") for port in SERVICES),
    f"udp:{OWN}:80",
    "ping:10.1.0.5",
    f"ping:{UPLINK_HOST}",
    f"tcp:{UPLINK_HOST}:80",
    f"udp:{UPLINK_HOST}:80",
]
NTP = f"ntp:{OWN}"


def wish(*, isolate: bool = True, allow: tuple[Opening, ...] = ()) -> NetworkWish:
    return NetworkWish(
        uplink=Uplink(
            interface="eth0",
            ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.1.0.5/24",)),
            ipv6=UplinkIPv6(mode=IPv6Mode.OFF),
        ),
        cameras=CameraLan(ports=("lan1", "lan2"), address=f"{OWN}/24", isolate=isolate, allow=allow),
    )


def furnish(lab: Lab) -> None:
    """Cameras with fixed addresses and the recorder as gateway, services everywhere, and a kernel that would forward."""
    for part, address in CAMERAS.items():
        lab.inside(part, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        lab.inside(part, "ip", "route", "add", "default", "via", OWN)
        listen(lab, part, (80,))
    lab.inside("u", "ip", "addr", "add", f"{UPLINK_HOST}/24", "dev", "eth0")
    lab.inside("u", "ip", "route", "add", "192.168.50.0/24", "via", "10.1.0.5")
    listen(lab, "u", (80,))
    listen(lab, "r", SERVICES)
    run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")


def listen(lab: Lab, part: str, ports: tuple[int, ...]) -> None:
    lab.start(part, sys.executable, str(HERE / "listen.py"), *map(str, ports), until="listening")


def reached(lab: Lab, part: str, targets: list[str]) -> list[str]:
    return json.loads(lab.inside(part, sys.executable, str(HERE / "probe.py"), *targets).stdout)


def test_a_camera_reaches_dhcp_and_ntp_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    units = ProcessUnits(tmp_path, only=frozenset({DNSMASQ, CHRONY}))
    room.transactions._units = units
    try:
        furnish(lab)
        asyncio.run(room.settle(wish(isolate=False)))
        open_to_all = reached(lab, "c1", [*ALL, NTP])
        assert open_to_all == sorted([*ALL, NTP]), units.log(CHRONY)  # the probes work
        asyncio.run(room.settle(wish()))
        assert reached(lab, "c1", [*ALL, NTP]) == [NTP]
        # The recorder reaches its cameras, and their answers come back.
        probe = subprocess.run(
            (
                sys.executable,
                str(HERE / "probe.py"),
                f"tcp:{CAMERAS['c1']}:80",
                f"udp:{CAMERAS['c2']}:80",
                f"ping:{CAMERAS['c1']}",
            ),
            capture_output=True,
            check=True,
        )
        assert len(json.loads(probe.stdout)) == 3
        # Nor does the uplink reach the cameras through the recorder.
        assert reached(lab, "u", [f"tcp:{CAMERAS['c1']}:80", f"ping:{CAMERAS['c1']}"]) == []
        # A real client gets a lease without gateway and name server, and its clock's source.
        lease = udhcpc(lab, "c2", tmp_path, units)
        assert lease["ip"].startswith("192.168.50.")
        assert 64 <= int(lease["ip"].rpartition(".")[2]) <= 254
        assert lease["ntpsrv"] == OWN
        assert "router" not in lease
        assert "dns" not in lease
    finally:
        units.end()


def test_a_port_taken_out_of_the_bridge_by_hand_stays_shut(lab: Lab, tmp_path: Path) -> None:
    furnish(lab)
    asyncio.run(Room(tmp_path).settle(wish()))
    run("ip", "link", "set", "lan1", "nomaster")
    run("ip", "addr", "del", f"{OWN}/24", "dev", "cameras")
    run("ip", "addr", "add", f"{OWN}/24", "dev", "lan1")
    assert reached(lab, "c1", ALL) == []


def test_only_what_is_opened_is_open(lab: Lab, tmp_path: Path) -> None:
    furnish(lab)
    run("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
    allow = (
        Opening(reach=Reach.UPLINK, source=CAMERAS["c1"], destination=UPLINK_HOST, protocol="tcp", port=80),
        Opening(reach=Reach.RECORDER, protocol="tcp", port=443),
    )
    asyncio.run(Room(tmp_path).settle(wish(allow=allow)))
    assert reached(lab, "c1", ALL) == sorted([f"tcp:{UPLINK_HOST}:80", f"tcp:{OWN}:443", "tcp:10.1.0.5:443"])
    assert reached(lab, "c2", [f"tcp:{UPLINK_HOST}:80", f"tcp:{OWN}:443"]) == [f"tcp:{OWN}:443"]


def test_the_kernel_lists_what_we_loaded(lab: Lab) -> None:
    """So that wish and kernel can be compared, and a table changed by hand is noticed."""
    openings = (
        Opening(reach=Reach.UPLINK, source="192.168.50.0/25", protocol="udp"),
        Opening(reach=Reach.UPLINK, destination="10.0.0.0/8", protocol="tcp", port=80),
        Opening(reach=Reach.RECORDER, source="192.168.50.9"),
    )
    for allow in ((), openings):
        text = isolation.ruleset(wish(allow=allow))

        async def story(text: str = text) -> None:
            await load(text)
            assert await listing() == canonical(json.loads(text))
            await load(text)  # replaces
            assert await listing() == canonical(json.loads(text))
            await load("")
            assert await listing() is None

        asyncio.run(story())


def udhcpc(lab: Lab, part: str, folder: Path, units: ProcessUnits) -> dict[str, str]:
    """Runs a real DHCP client in a camera; what the server told it."""
    script = folder / "event"
    script.write_text(f'#!/bin/sh\n[ "$1" = bound ] && env >{folder}/lease-{part}\nexit 0\n')
    script.chmod(0o755)
    words = f"busybox udhcpc -i eth0 -n -q -f -t 8 -T 1 -O ntpsrv -s {script}".split()
    done = lab.inside(part, *words, check=False)
    assert done.returncode == 0, done.stderr + units.log(DNSMASQ)
    return dict(line.split("=", 1) for line in (folder / f"lease-{part}").read_text().splitlines() if "=" in line)
