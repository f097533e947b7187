"""Framing, raw streams, times and escaping: what any peer may send, in any cut."""

from __future__ import annotations

import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorderd.protocol.framing import Framer, MessageTooLong, frame
from recorderd.protocol.printable import printable
from recorderd.protocol.upgrade import MalformedStream, Trailer, Unchunker, chunk_header, end
from recorderd.protocol.wall import from_rfc3339, to_rfc3339


@given(st.lists(st.binary().filter(lambda b: 0 not in b)), st.lists(st.integers(0, 500)))
def test_messages_survive_any_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(message) for message in messages)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    framer = Framer()
    got = [m for a, b in itertools.pairwise(places) for m in framer.feed(stream[a:b])]
    assert got == messages


def test_a_message_without_an_end_is_refused_before_it_fills_memory() -> None:
    framer = Framer(1000)
    with pytest.raises(MessageTooLong):
        for _ in range(100):
            list(framer.feed(b"x" * 100))


def test_too_long_is_too_long_even_with_an_end() -> None:
    with pytest.raises(MessageTooLong):
        list(Framer(10).feed(b"x" * 11 + b"\0"))


@given(st.lists(st.binary(min_size=1, max_size=300)), st.integers(1, 70))
def test_raw_streams_survive_any_cut(pieces: list[bytes], step: int) -> None:
    stream = b"".join(chunk_header(len(piece)) + piece for piece in pieces) + end(Trailer(complete=True, bytes=3))
    unchunker = Unchunker()
    got = b"".join(bytes(p) for i in range(0, len(stream), step) for p in unchunker.feed(stream[i : i + step]))
    assert got == b"".join(pieces)
    assert unchunker.trailer == Trailer(complete=True, bytes=3)


def test_a_huge_chunk_is_refused() -> None:
    with pytest.raises(MalformedStream):
        list(Unchunker().feed(b"\xff\xff\xff\xff"))


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1), max_value=datetime.datetime(9999, 12, 31)))
def test_times_agree_with_datetime(naive: datetime.datetime) -> None:
    aware = naive.replace(tzinfo=datetime.UTC)
    text = aware.isoformat(timespec="microseconds").replace("+00:00", "Z")
    ns = from_rfc3339(text)
    assert to_rfc3339(ns) == text
    delta = aware - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert ns == (delta // datetime.timedelta(microseconds=1)) * 1000


def test_offsets_and_bad_times() -> None:
    assert from_rfc3339("2026-05-04T15:02:01.5+02:00") == from_rfc3339("2026-05-04T13:02:01.500Z")
    for bad in (
        "2026-05-04 13:02",
        "2026-02-30T00:00:00Z",
        "2026-05-04T13:02:01",
        "2026-05-04T24:00:00Z",
        "٢٠٢٦-05-04T13:02:01Z",
    ):
        with pytest.raises(ValueError, match=r"time"):
            from_rfc3339(bad)


@given(st.text())
def test_printable_text_cannot_move_the_cursor(text: str) -> None:
    out = printable(text, 50)
    assert len(out) <= 50 * 10
    assert out.isprintable()


def test_printable_names_what_it_hides() -> None:
    assert printable("\x1b[2Jcam\u202e") == "\\x1b[2Jcam\\u202e"
    assert printable("x" * 200, 10) == "x" * 9 + "…"
