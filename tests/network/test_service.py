"""The network service on a real kernel: cameras found, drift repaired, links and conflicts told, floods survived."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from recorderd.model.clock import SystemClock
from recorderd.model.network import (
    CameraLan,
    IPv4Mode,
    IPv6Mode,
    NetworkSettings,
    NetworkWish,
    Uplink,
    UplinkIPv4,
    UplinkIPv6,
)
from recorderd.model.ports import Event
from recorderd.network import service, topics
from recorderd.network.patience import Patience
from recorderd.network.service import NetworkService
from recorderd.network.transaction import Refused
from tests.network.eventually import until
from tests.network.namespaces import Lab, differences, picture, run
from tests.network.room import Room

CAMERAS = CameraLan(ports=("lan1", "lan2"), address="192.168.50.1/24", labels={"lan1": "1", "lan2": "2"})
UPLINK = Uplink(
    interface="eth0",
    ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.1.0.5/24",), gateway="10.1.0.1"),
    ipv6=UplinkIPv6(mode=IPv6Mode.OFF),
)
WISH = NetworkWish(uplink=UPLINK, cameras=CAMERAS)


class Heard:
    """Event sink and link observer."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.links: list[tuple[str, str]] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def link_lost(self, address: str, detail: str) -> None:
        self.links.append(("lost", address))

    def link_back(self, address: str) -> None:
        self.links.append(("back", address))

    def of(self, topic: str) -> list[dict[str, str]]:
        return [dict((*event.source, *event.data)) for event in self.events if event.topic == topic]


class Running:
    """A service over a settled room."""

    def __init__(self, folder: Path, *, manage: bool = True) -> None:
        self.room = Room(folder)
        self.heard = Heard()
        self.leases = folder / "leases"
        (folder / "root/proc/self/net").mkdir(parents=True)
        (folder / "root/run").mkdir()
        status = Path("/proc/self/status").read_text()
        (folder / "root/proc/self/status").write_text(status)
        self.root = folder / "root"
        settings = NetworkSettings(manage=manage, uplink=UPLINK, cameras=CAMERAS)
        self.service = NetworkService(
            settings=settings,
            folder=self.room.folder,
            transactions=self.room.transactions,
            executor=self.room.executor,
            units=self.room.units,
            events=self.heard,
            clock=SystemClock(),
            labels={"lan1": "1", "lan2": "2"},
            observer=self.heard,
            leases_file=self.leases,
            uplink_lease_file=folder / "lease",
            resolv_file=folder / "resolv.conf",
            root=self.root,
        )

    def story(self, tell: Callable[[], Awaitable[None]], *, settle: bool = True) -> None:
        async def whole() -> None:
            if settle:
                await self.room.settle(WISH)
            running = asyncio.ensure_future(self.service.run())
            try:
                await until(lambda: bool(self.service._observed.links))
                await tell()
                if running.done():
                    running.result()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(whole())


async def inside(lab: Lab, part: str, *words: str) -> None:
    await asyncio.to_thread(lab.inside, part, *words, check=False)


def test_a_camera_is_found_within_two_seconds_of_its_first_frame(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)

    async def tell() -> None:
        lab.inside("c2", "ip", "addr", "add", "192.168.50.23/24", "dev", "eth0")
        assert made.service.locate("192.168.50.23") is None
        began = time.monotonic()
        await inside(lab, "c2", "ping", "-c", "1", "-W", "1", "192.168.50.1")  # its ARP request is its first frame
        await until(lambda: made.service.locate("192.168.50.23") is not None)
        took_s = time.monotonic() - began
        place = made.service.locate("192.168.50.23")
        assert place is not None
        assert (place.port, place.mac, place.alone) == ("2", "02:00:00:00:01:02", True)
        assert took_s < 2.0  # includes the second that the unanswered ping waits
        assert made.heard.of(topics.CAMERA)[-1] | {"Address": ""} == {
            "Port": "2",
            "Mac": "02:00:00:00:01:02",
            "What": "Found",
            "Address": "",
            "Detail": "",
        }
        made.leases.write_text("1800000000 02:00:00:00:01:02 192.168.50.23 front-door *\n")
        await inside(lab, "c2", "ping", "-c", "1", "-W", "1", "192.168.50.1")
        await inside(lab, "c2", "busybox", "arping", "-c", "1", "-w", "1", "-A", "-I", "eth0", "192.168.50.23")
        await until(lambda: (made.service.locate("192.168.50.23") or place).name == "front-door")
        shown = made.service.status()
        assert [(p.port, p.ip, p.name) for p in shown.cameras if p.ip] == [("2", "192.168.50.23", "front-door")]
        assert shown.isolation == "cameras reach DHCP and NTP on the recorder and nothing else"

    made.story(tell)


def test_lldp_names_a_camera(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)
    frame = bytes.fromhex("0180c200000e02000000010188cc") + b"".join(
        struct.pack("!H", kind << 9 | len(value)) + value
        for kind, value in (
            (1, b"\x04\x02\0\0\0\1\1"),
            (2, b"\x03\x02\0\0\0\1\1"),
            (3, b"\0\x78"),
            (5, b"Axis P3245"),
            (0, b""),
        )
    )
    script = f"""import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0)); s.send(bytes.fromhex("{frame.hex()}"))"""

    async def tell() -> None:
        await until(lambda: bool(made.service._places._ports))
        await inside(lab, "c1", "python3", "-c", script)
        await until(lambda: made.service._places.announcement("lan1") is not None)
        await until(lambda: made.service.locate("02:00:00:00:01:01") is not None)
        place = made.service.locate("02:00:00:00:01:01")
        assert place is not None
        assert (place.port, place.name) == ("1", "Axis P3245")

    made.story(tell)


DRIFTS = [
    "ip addr del 10.1.0.5/24 dev eth0",
    "ip addr del 192.168.50.1/24 dev cameras",
    "ip link set eth0 down",
    "ip link set lan1 nomaster",
    "ip link set lan2 type bridge_slave isolated off",
    "ip link set lan2 down",
    "ip route del default",
    "ip addr add 192.168.99.1/24 dev cameras",
    "ip link del cameras",
    "nft flush chain inet recorderd from_cameras",
    "nft delete table inet recorderd",
    "sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=0",
]


def test_drift_by_hand_is_repaired_and_told(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "GATHER_S", 0.05)
    monkeypatch.setattr(service, "APART_S", 0.25)
    made = Running(tmp_path)

    async def tell() -> None:
        before = picture()
        for drift in DRIFTS:
            await asyncio.sleep(
                service.APART_S + 0.2
            )  # what was on its way has arrived: the drift alone must be noticed
            made.service._patience = Patience()
            made.heard.events.clear()
            run(*drift.split())
            assert differences(picture(), before), drift
            await until(lambda: not differences(picture(), before))
            await until(lambda: [event["What"] for event in made.heard.of(topics.CHANGE)][:1] == ["Repaired"])

    made.story(tell)


def test_what_someone_else_added_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)

    async def tell() -> None:
        run("ip", "addr", "add", "10.7.0.1/24", "dev", "eth0")
        run("ip", "link", "add", "theirs", "type", "bridge")
        run("nft", "add", "table", "inet", "theirs")
        await until(lambda: bool(made.service.status().notes))
        assert made.service.status().notes == ("eth0: 10.7.0.1/24 was added by someone else and is left alone",)
        assert "10.7.0.1" in run("ip", "addr").stdout

    made.story(tell)


def test_against_someone_who_keeps_changing_it_the_recorder_gives_way(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)

    async def tell() -> None:
        for _ in range(12):
            run("ip", "addr", "del", "10.1.0.5/24", "dev", "eth0", check=False)
            made.service._patience.spent(made.service._now_s())
            await asyncio.sleep(0.3)
            if made.service.status().trouble:
                break
        await until(lambda: "someone else keeps changing" in " ".join(made.service.status().trouble))
        assert "Contested" in [event["What"] for event in made.heard.of(topics.CHANGE)]

    made.story(tell)


def test_a_pulled_cable_is_told_to_whom_it_concerns(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)

    async def tell() -> None:
        lab.inside("c1", "ip", "addr", "add", "192.168.50.21/24", "dev", "eth0")
        await inside(lab, "c1", "ping", "-c", "1", "-W", "1", "192.168.50.1")
        await until(lambda: made.service.locate("192.168.50.21") is not None)
        lab.inside("c1", "ip", "link", "set", "eth0", "down")
        await until(lambda: ("lost", "192.168.50.21") in made.heard.links)
        assert made.heard.of(topics.LINK)[-1]["Up"] == "false"
        place = made.service.locate("192.168.50.21")
        assert place is not None
        assert place.port == "1"  # the rescue asks for it now
        lab.inside("c1", "ip", "link", "set", "eth0", "up")
        await until(lambda: ("back", "192.168.50.21") in made.heard.links)
        lab.inside("u", "ip", "link", "set", "eth0", "down")
        await until(lambda: made.heard.of(topics.LOST)[-1:] == [{"interface": "eth0", "lost": "true"}])

    made.story(tell)


def test_two_cameras_with_one_address_are_told(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)

    async def tell() -> None:
        for part in ("c1", "c2"):
            lab.inside(part, "ip", "addr", "add", "192.168.50.30/24", "dev", "eth0")
            await inside(lab, part, "busybox", "arping", "-c", "1", "-w", "1", "-A", "-I", "eth0", "192.168.50.30")
        await until(lambda: bool(made.heard.of(topics.CONFLICT)))
        assert made.heard.of(topics.CONFLICT)[0]["Address"] == "192.168.50.30"
        assert made.service.protected_ports() == frozenset({"eth0"})

    made.story(tell)


def test_unmanaged_nothing_is_changed(lab: Lab, tmp_path: Path) -> None:
    before = picture()
    made = Running(tmp_path, manage=False)

    async def tell() -> None:
        run("ip", "link", "add", "theirs", "type", "bridge")
        await asyncio.sleep(0.5)
        with pytest.raises(Refused, match="manage = true"):
            await made.service.apply(confirm_within_s=60)
        assert not made.room.units.calls
        run("ip", "link", "del", "theirs")

    made.story(tell, settle=False)
    assert picture() == before


def test_without_any_power_it_still_looks(lab: Lab, tmp_path: Path) -> None:
    """As an ordinary user on a machine whose network is someone else's: no crash, no change, cameras are seen."""
    run("ip", "link", "set", "lan1", "up")
    tmp_path.chmod(0o755)
    made = Running(tmp_path, manage=False)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

        async def tell() -> None:
            await asyncio.sleep(1.5)
            status = made.service.status()
            assert {link.name for link in status.links} == {"eth0", "lan1", "lan2"}
            assert any("CAP_NET_RAW" in note for note in status.notes)

        try:
            made.story(tell, settle=False)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_first_start_with_manage_changes_nothing_either(lab: Lab, tmp_path: Path) -> None:
    """What is declared takes effect by `net apply` only."""
    before = picture()
    made = Running(tmp_path)

    async def tell() -> None:
        await asyncio.sleep(0.5)
        assert (await made.service.preview()).plan.steps

    made.story(tell, settle=False)
    assert picture() == before


def test_someone_elses_network_and_missing_powers_are_one_line_each(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)
    before = picture()
    number = socket.if_nametoindex("eth0")
    netif = made.root / "run/systemd/netif/links"
    netif.mkdir(parents=True)

    async def refused() -> str:
        with pytest.raises(Refused) as caught:
            await made.service.apply(confirm_within_s=60)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    async def tell() -> None:
        (netif / str(number)).write_text("ADMIN_STATE=configured\n")
        assert (await refused()).startswith("eth0 belongs to systemd-networkd: recorderd changes nothing there.")
        (netif / str(number)).unlink()
        (made.root / "run/NetworkManager/devices").mkdir(parents=True)
        (made.root / "run/NetworkManager/devices" / str(number)).write_text("[device]\nmanaged=true\n")
        assert (await refused()).startswith("eth0 belongs to NetworkManager")
        (made.root / "run/NetworkManager/devices" / str(number)).unlink()
        (made.root / "proc/self/status").write_text("CapEff:\t0000000000000000\n")
        assert "CAP_NET_ADMIN is missing" in await refused()

    made.story(tell, settle=False)
    assert picture() == before
    assert not made.room.generations.pending()


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        (
            NetworkWish(uplink=UPLINK, cameras=CameraLan(ports=("lan1",), address="10.1.0.77/16")),
            "network.cameras.address: '10.1.0.77/16' is not free: it overlaps uplink.ipv4.addresses 10.1.0.5/24",
        ),
        (
            NetworkWish(uplink=UPLINK, cameras=CameraLan(ports=("eth0",))),
            "network.cameras.ports: 'eth0' is not free: it is the uplink",
        ),
        (NetworkWish(uplink=Uplink(interface="eth7")), "interface eth7 does not exist (present: eth0, lan1, lan2)"),
        (
            NetworkWish(uplink=Uplink(interface="eth0; reboot")),
            "network.uplink.interface: 'eth0; reboot' is not an interface name (1 to 15 of A-Z a-z 0-9 _ . -)",
        ),
        (
            NetworkWish(
                uplink=Uplink(interface="eth0", ipv4=UplinkIPv4(mode=IPv4Mode.STATIC, addresses=("10.0.0.0/8",)))
            ),
            "network.uplink.ipv4.addresses: '10.0.0.0/8' is not an IPv4 host address with its prefix, "
            'e.g. "192.168.1.5/24": it is the network\'s own or its broadcast address',
        ),
    ],
)
def test_contradictions_are_one_line_and_nothing_is_changed(
    lab: Lab, tmp_path: Path, wish: NetworkWish, line: str
) -> None:
    before = picture()
    room = Room(tmp_path)
    with pytest.raises(Refused) as caught:
        asyncio.run(room.transactions.apply(wish))
    assert str(caught.value) == line
    assert picture() == before
