"""Netlink messages: what the kernel may say, what nobody should, and this machine's own kernel."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw import netlink

RTM_GETLINK, RTM_NEWLINK = 18, 16
ALL_LINKS = struct.pack("=BxHiII", 0, 0, 0, 0, 0)


def packed(kind: int, body: bytes = b"", *, flags: int = 0, sequence: int = 1) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def failure(code: int) -> bytes:
    return packed(2, struct.pack("=i", -code) + bytes(16))


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_come_back_as_they_went(said: dict[int, bytes]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in said.items())
    assert len(data) % 4 == 0
    assert netlink.attributes(bytes(7) + data, 7) == said
    assert netlink.attributes(netlink.attribute(9 | 0x8000, data)) == {9: data}, "a nest"


@given(st.binary(max_size=200))
def test_whatever_comes_is_taken_in_bounds(data: bytes) -> None:
    assert sum(len(message.body) for message in netlink.parse(data)) <= len(data)
    assert sum(map(len, netlink.attributes(data).values())) <= len(data)


@given(st.data())
def test_an_answer_may_be_cut_into_datagrams_anywhere_between_its_messages(data: st.DataObject) -> None:
    parts = [packed(RTM_NEWLINK, bytes([number] * number), flags=2) for number in range(5)]
    cut = data.draw(st.integers(0, 5))
    answer = netlink.Answer(1)
    assert not answer.feed(b"".join(parts[:cut]))
    assert answer.feed(b"".join(parts[cut:]) + packed(3, struct.pack("=i", 0)))
    assert [message.body for message in answer.messages] == [bytes([number] * number) for number in range(5)]


def test_refusals_foreign_answers_and_torn_tables() -> None:
    answer = netlink.Answer(1)
    assert not answer.feed(packed(3, struct.pack("=i", 0), sequence=7))
    with pytest.raises(PermissionError):
        answer.feed(failure(errno.EPERM))
    with pytest.raises(InterruptedError):
        answer.feed(packed(RTM_NEWLINK, ALL_LINKS, flags=0x12))
    assert answer.feed(failure(0)), "an acknowledgement"


def test_a_table_that_changes_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    async def torn_twice(kind: int, flags: int, body: bytes) -> list[netlink.Message]:
        attempts.append((kind, flags, body))
        if len(attempts) < 3:
            raise InterruptedError(errno.EINTR, "torn")
        return [netlink.Message(RTM_NEWLINK, 0, 1, b"")]

    monkeypatch.setattr(netlink, "ask", torn_twice)
    assert len(asyncio.run(netlink.dump(RTM_GETLINK, ALL_LINKS))) == 1
    assert attempts == [(RTM_GETLINK, netlink.DUMP, ALL_LINKS)] * 3


def test_this_kernel_knows_its_links() -> None:
    found = asyncio.run(netlink.dump(RTM_GETLINK, ALL_LINKS))
    names = {netlink.text(netlink.attributes(message.body, 16)[3]) for message in found}
    assert names == {name for _, name in socket.if_nameindex()}
    with pytest.raises(OSError, match="No such device"):
        asyncio.run(netlink.ask(RTM_GETLINK, netlink.ACK, struct.pack("=BxHiII", 0, 0, 1 << 30, 0, 0)))
