"""The helper's capture: packets of an interface that is there, as a file that any reader knows."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from recorderd.workers.helper.capture import NoSuchInterface, packets


def test_an_interface_that_is_not_there_is_named() -> None:
    for name in ("nosuch0", "../lo", ""):
        with pytest.raises(NoSuchInterface, match="there is no interface"):
            next(packets(name, 1, 1 << 20))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for packet sockets")
def test_what_is_sent_is_in_the_file_with_its_head_only() -> None:
    stream = packets("lo", 20, 1 << 20)
    head = next(stream)
    assert struct.unpack("<I", head[:4])[0] == 0xA1B2C3D4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"capture me" + bytes(1000), ("127.0.0.1", 9))
    record = next(found for found in stream if b"capture me" in found)
    _, _, kept, length = struct.unpack("<IIII", record[:16])
    assert kept == len(record) - 16 == 256
    assert length > 1000
    stream.close()  # type: ignore[attr-defined]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for packet sockets")
def test_it_ends_by_its_bytes() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        total = 0
        for piece in packets("lo", 20, 1000):
            total += len(piece)
            sender.sendto(bytes(500), ("127.0.0.1", 9))
        assert 24 < total <= 1000
