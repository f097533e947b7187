"""pcap in pieces of any size becomes the same pcapng."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorderd.network.pcapng import PCAP_HEAD, PCAP_MAGIC, PCAP_RECORD, Converter, NotPcap

HEAD = PCAP_HEAD.pack(PCAP_MAGIC, 2, 4, 0, 0, 256, 1)
PCAP = HEAD + PCAP_RECORD.pack(1_760_000_000, 5, 3, 60) + b"abc" + PCAP_RECORD.pack(1_760_000_001, 6, 4, 4) + b"defg"


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert data[length - 4 : length] == data[4:8]
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


WHOLE = b"".join(Converter("lan1").feed(PCAP))


def test_the_blocks() -> None:
    (section, _), (interface, described), (first, packet), (second, _) = blocks(WHOLE)
    assert (section, interface, first, second) == (0x0A0D0D0A, 1, 6, 6)
    assert b"lan1" in described
    number, high, low, kept, length = struct.unpack_from("<IIIII", packet)
    assert (number, high << 32 | low, kept, length) == (0, 1_760_000_000_000_005, 3, 60)
    assert packet[20:23] == b"abc"


@given(st.lists(st.integers(0, len(PCAP)), max_size=8))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(PCAP)]
    converter = Converter("lan1")
    pieces = [PCAP[a:b] for a, b in itertools.pairwise(edges)]
    assert b"".join(block for piece in pieces for block in converter.feed(piece)) == WHOLE


@pytest.mark.parametrize("data", [b"x" * 24, HEAD + PCAP_RECORD.pack(0, 0, 1 << 30, 1)])
def test_what_is_no_pcap_is_refused(data: bytes) -> None:
    with pytest.raises(NotPcap):
        list(Converter("lan1").feed(data))
