"""The table of places, and the parsers that feed it, without a kernel."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from recorderd.network import arp, leases, lldp, notices
from recorderd.network.places import PER_PORT_MAX, Conflict, Found, Moved, Places

CAMERA = "ac:cc:8e:00:00:01"
OTHER = "ac:cc:8e:00:00:02"


def places() -> Places:
    made = Places()
    made.configure(
        ports={11: "lan1", 12: "lan2"},
        inside={10: "cameras"},
        labels={"lan1": "1", "lan2": "2"},
        fixed={"ac:cc:8e:00:00:09": "7"},
        own={"192.168.50.1"},
    )
    return made


def test_a_camera_is_found_named_and_kept_after_it_fell_silent() -> None:
    table = places()
    found = table.forwarding(11, CAMERA, 1.0, gone=False)
    assert [type(f) for f in found] == [Found]
    assert table.forwarding(11, CAMERA, 2.0, gone=False) == ()
    table.neighbour(10, "192.168.50.23", CAMERA, 2.0)
    table.heard("lan1", lldp.Announcement("c", "p", 120, system="Axis P3245"))
    place = table.locate("192.168.50.23")
    assert place is not None
    assert (place.mac, place.port, place.name, place.alone) == (CAMERA, "1", "Axis P3245", True)
    table.forwarding(11, CAMERA, 400.0, gone=True)
    table.neighbour(10, "192.168.50.23", "", 401.0)
    assert table.locate("192.168.50.23") == place  # the rescue asks now
    moved = table.forwarding(12, CAMERA, 500.0, gone=False)
    assert isinstance(moved[0], Moved)
    assert (moved[0].former_port, moved[0].place.port) == ("1", "2")


def test_a_lease_names_and_addresses() -> None:
    table = places()
    table.forwarding(12, CAMERA, 1.0, gone=False)
    text = (
        f"1700000000 {CAMERA} 192.168.50.40 door 01:{CAMERA}\nduid 00:01\nnonsense\n1700000000 {OTHER} 999.1.1.1 x *\n"
    )
    assert leases.parse(text) == (leases.Lease(CAMERA, "192.168.50.40", "door", 1700000000),)
    table.leases(leases.parse(text))
    place = table.locate("192.168.50.40")
    assert place is not None
    assert (place.name, place.ip, place.port) == ("door", "192.168.50.40", "2")
    assert table.locate(CAMERA.upper()) == place
    assert table.locate("192.168.50.41") is None
    assert table.locate("nonsense") is None


def test_two_devices_behind_one_port_are_not_alone() -> None:
    table = places()
    table.forwarding(11, CAMERA, 1.0, gone=False)
    table.forwarding(11, OTHER, 1.0, gone=False)
    place = table.locate(CAMERA)
    assert place is not None
    assert not place.alone
    table.forwarding(11, OTHER, 2.0, gone=True)
    place = table.locate(CAMERA)
    assert place is not None
    assert place.alone


def test_an_address_claimed_twice_is_a_conflict_once() -> None:
    table = places()
    table.forwarding(11, CAMERA, 1.0, gone=False)
    table.forwarding(12, OTHER, 1.0, gone=False)
    assert table.claim(10, CAMERA, "192.168.50.5", 1.0) == ()
    assert table.claim(10, OTHER, "192.168.50.5", 2.0) == (Conflict("192.168.50.5", OTHER, CAMERA, "2", "1"),)
    assert table.claim(10, CAMERA, "192.168.50.5", 3.0) == ()
    assert table.claim(10, CAMERA, "192.168.50.1", 4.0) == (Conflict("192.168.50.1", CAMERA, "", "1", ""),)
    # A camera that is replaced takes over its address without noise.
    table.forwarding(12, OTHER, 5.0, gone=True)
    assert table.claim(10, CAMERA, "192.168.50.6", 6.0) == ()


def test_a_camera_that_invents_addresses_fills_its_own_share_only() -> None:
    table = places()
    for number in range(5000):
        table.forwarding(11, f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}", 1.0, gone=False)
    assert len(table) == PER_PORT_MAX
    assert table.refused == 5000 - PER_PORT_MAX
    assert table.forwarding(12, OTHER, 2.0, gone=False)
    for number in range(5000):
        table.claim(10, OTHER, f"192.168.{number >> 8}.{number & 255}", float(number))
    device = table._devices[OTHER]
    assert len(device.addresses) == 8
    assert len(table._by_address) <= 8


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!H", kind << 9 | len(value)) + value


LLDP = (
    tlv(1, b"\x04" + bytes.fromhex("accc8e000001"))
    + tlv(2, b"\x03" + bytes.fromhex("accc8e000001"))
    + tlv(3, b"\x00\x78")
    + tlv(5, b"axis-accc8e000001")
    + tlv(6, b"AXIS P3245-V 10.12.91")
    + tlv(8, b"\x05\x01\xc0\xa8\x32\x17\x02\x00\x00\x00\x01\x00")
    + tlv(127, b"\x00\x12\x0f\x02\x07\x01\x04")
    + tlv(0, b"")
)


def test_power_that_a_camera_asks_for() -> None:
    head = (
        tlv(1, b"\x04" + bytes.fromhex("accc8e000001"))
        + tlv(2, b"\x03" + bytes.fromhex("accc8e000001"))
        + tlv(3, b"\x00\x78")
    )
    dot3 = tlv(
        127, b"\x00\x12\x0f\x02" + bytes((0x0F, 1, 5, 0x53)) + (255).to_bytes(2, "big") + (255).to_bytes(2, "big")
    )
    pse = tlv(
        127, b"\x00\x12\x0f\x02" + bytes((0x0F, 1, 5, 0x13)) + (300).to_bytes(2, "big") + (300).to_bytes(2, "big")
    )
    med = tlv(127, b"\x00\x12\xbb\x04" + bytes((0x43,)) + (120).to_bytes(2, "big"))
    assert lldp.parse(head + dot3 + med + tlv(0, b"")).requested_mw == 25_500  # 802.3 wins over LLDP-MED
    assert lldp.parse(head + med + tlv(0, b"")).requested_mw == 12_000
    assert lldp.parse(head + pse + tlv(0, b"")).requested_mw == 0  # a switch offers, it does not ask
    assert lldp.parse(head + tlv(127, b"\x00\x12\x0f\x02\x0f") + tlv(0, b"")).requested_mw == 0


def test_lldp_of_a_camera() -> None:
    said = lldp.parse(LLDP + b"\0" * 20)
    assert said == lldp.Announcement(
        chassis=CAMERA,
        port=CAMERA,
        ttl_s=120,
        system="axis-accc8e000001",
        description="AXIS P3245-V 10.12.91",
        address="192.168.50.23",
    )


@given(st.binary(max_size=200))
def test_lldp_of_an_enemy(tail: bytes) -> None:
    for frame in (tail, LLDP[: len(LLDP) - len(tail)] + tail, LLDP[:24] + tail):
        try:
            lldp.parse(frame)
        except lldp.NotLldp:
            continue


@given(st.binary(max_size=300))
def test_notices_and_arp_of_an_enemy(data: bytes) -> None:
    list(notices.parse(data))
    list(notices.parse(notices.HEADER.pack(16 + len(data), notices.RTM_NEWNEIGH, 0, 0, 0) + data))
    notices.dump_over(data)
    arp.parse(data)


def test_arp_probe_and_claim() -> None:
    head = bytes.fromhex("00010800060400") + b"\x01" + bytes.fromhex("accc8e000001")
    assert arp.parse(head + bytes(4) + bytes(6) + bytes([10, 0, 0, 9])) == arp.Claim(CAMERA, "10.0.0.9", probe=True)
    assert arp.parse(head + bytes([10, 0, 0, 9]) + bytes(6) + bytes([10, 0, 0, 1])) == arp.Claim(CAMERA, "10.0.0.9")
    assert arp.parse(head[:7] + b"\x09" + head[8:] + bytes(14)) is None
