"""The server as its clients see it: calls, streams, raw bytes, errors, access and limits; and garbage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import varlink

from recorderd.control.dispatch import Dispatch, Last, Upgrade
from recorderd.control.peer import AccessRules, Peer
from recorderd.control.server import Limits
from recorderd.protocol import core
from recorderd.protocol.client import Client, ConnectionLost
from recorderd.protocol.errors import InternalError, LimitReached, NotFound, PermissionDenied
from recorderd.protocol.interface import Access, Interface, Kind
from recorderd.protocol.message import Message, Nothing
from recorderd.protocol.upgrade import Trailer

TEST = Interface("io.recorderd.test")


class Text(Message, frozen=True):
    text: str
    times: int = 1


ECHO = TEST.method("Echo", Text, Text, access=Access.VIEW)
SLOW = TEST.method("Slow", Text, Text, access=Access.VIEW, kind=Kind.STREAM)
COUNT = TEST.method("Count", Text, Text, access=Access.VIEW, kind=Kind.STREAM)
RAW = TEST.method("Raw", Text, Text, kind=Kind.UPGRADE)
HANDED = TEST.method("Handed", Text, Text, kind=Kind.UPGRADE)
BUG = TEST.method("Bug", Nothing, Nothing)
MISSING = TEST.method("Missing", Text, Nothing)


class _Body:
    def __init__(self, piece: bytes, times: int) -> None:
        self.piece, self.times, self.closed = piece, times, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.times):
            yield self.piece

    def trailer(self) -> Trailer:
        return Trailer(complete=True, bytes=len(self.piece) * self.times)

    async def aclose(self) -> None:
        self.closed = True


class _Writer:
    """Writes `piece` to the file that is handed over, until told to end."""

    def __init__(self, by: socket.socket, piece: bytes, times: int) -> None:
        self.by, self.piece, self.times, self.closed = by, piece, times, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.by.setblocking(False)
        while True:
            await asyncio.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                _, fds, _, _ = socket.recv_fds(self.by, 1, 1)
                break
        for _ in range(self.times):
            await asyncio.sleep(0.01)
            os.write(fds[0], self.piece)
            yield b""
        os.close(fds[0])

    def trailer(self) -> Trailer:
        return Trailer(complete=True, bytes=len(self.piece) * self.times)

    async def aclose(self) -> None:
        self.by.close()
        self.closed = True


class _Face:
    def __init__(self) -> None:
        self.bodies: list[_Body] = []
        self.writers: list[_Writer] = []

    def bind(self, table: Dispatch) -> None:
        table.reply(ECHO, self.echo)
        table.stream(COUNT, self.count)
        table.stream(SLOW, self.slow)
        table.upgrade(RAW, self.raw)
        table.upgrade(HANDED, self.handed)
        table.reply(BUG, self.bug)
        table.reply(MISSING, self.missing)

    async def echo(self, call: Text, _peer: Peer) -> Text:
        return Text(text=call.text * call.times)

    async def slow(self, call: Text, _peer: Peer) -> AsyncIterator[Text | Last[Text]]:
        yield call
        await asyncio.sleep(0.3)
        yield Last(call)

    async def count(self, call: Text, _peer: Peer) -> AsyncIterator[Text | Last[Text]]:
        for i in range(call.times - 1):
            yield Text(text=call.text, times=i)
        yield Last(Text(text="end", times=call.times))

    async def raw(self, call: Text, _peer: Peer) -> Upgrade[Text]:
        body = _Body(call.text.encode(), call.times)
        self.bodies.append(body)
        return Upgrade(Text(text="follows"), body)

    async def handed(self, call: Text, _peer: Peer) -> Upgrade[Text]:
        ours, theirs = socket.socketpair()
        body = _Writer(ours, call.text.encode(), call.times)
        self.writers.append(body)
        return Upgrade(Text(text="x" * 300_000), body, theirs)  # more than a socket takes at once

    async def bug(self, _call: Nothing, _peer: Peer) -> Nothing:
        raise KeyError("secret-4711")

    async def missing(self, call: Text, _peer: Peer) -> Nothing:
        raise NotFound("thing", call.text)


@pytest.fixture
def face() -> _Face:
    return _Face()


def test_calls_streams_raw_bytes_and_errors(serve: Callable[..., object], face: _Face) -> None:
    path = str(serve(face.bind).path)  # type: ignore[attr-defined]
    with Client.connect(path) as client:
        assert client.call(ECHO, Text(text="ab", times=3)).text == "ababab"
        assert [r.text for r in client.stream(COUNT, Text(text="x", times=4))] == ["x", "x", "x", "end"]
        with pytest.raises(NotFound, match="no thing 'door'"):
            client.call(MISSING, Text(text="door"))
        with pytest.raises(InternalError) as bug:
            client.call(BUG, Nothing())
        assert "4711" not in str(bug.value)
        assert client.call(core.GET_VERSION, Nothing()).protocol == 1
        reply, download = client.upgrade(RAW, Text(text="0123456789" * 30_000, times=9))
        assert reply.text == "follows"
        assert sum(len(piece) for piece in download) == 2_700_000
        assert download.trailer == Trailer(complete=True, bytes=2_700_000)
    _until(lambda: face.bodies[0].closed)


def test_a_file_is_handed_over(serve: Callable[..., object], face: _Face, tmp_path: Path) -> None:
    path = str(serve(face.bind).path)  # type: ignore[attr-defined]
    target = tmp_path / "file"
    with Client.connect(path) as client, target.open("wb") as file:
        assert client.local
        reply, download = client.hand_over(HANDED, Text(text="abc", times=4), file.fileno())
        assert len(reply.text) == 300_000
        assert list(download) == []
        assert download.trailer == Trailer(complete=True, bytes=12)
    assert target.read_bytes() == b"abc" * 4
    _until(lambda: face.writers[0].closed)


def test_a_worker_ends_when_the_one_whose_file_it_writes_has_gone(
    serve: Callable[..., object], face: _Face, tmp_path: Path
) -> None:
    path = str(serve(face.bind).path)  # type: ignore[attr-defined]
    with Client.connect(path) as client, (tmp_path / "file").open("wb") as file:
        client.hand_over(HANDED, Text(text="abc", times=1 << 40), file.fileno())
        assert not face.writers[0].closed
    _until(lambda: face.writers[0].closed)


def test_a_stream_may_be_silent_for_longer_than_a_call_may_take(serve: Callable[..., object], face: _Face) -> None:
    path = str(serve(face.bind).path)  # type: ignore[attr-defined]
    with Client.connect(path, timeout_s=0.05) as client:
        assert len(list(client.stream(SLOW, Text(text="x")))) == 2


def test_the_server_ends_while_a_client_still_watches(serve: Callable[..., object], face: _Face) -> None:
    """As at every stop of the daemon: a client that watches would never leave by itself."""
    served = serve(face.bind)
    with Client.connect(str(served.path)) as client:  # type: ignore[attr-defined]
        assert client.call(ECHO, Text(text="x")) == Text(text="x")
        served.end()  # type: ignore[attr-defined]
    assert served.path.exists(), "the socket is not the server's: systemd keeps it for the next one"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("parameters", "argument", "expected"),
    [
        ({"text": 5}, "text", "str"),
        ({"text": "a", "time": 1}, "time", "a known argument ('times')"),
        ({}, "text", "a value"),
        ([], "parameters", "object"),
    ],
)
def test_wrong_arguments_are_named(
    serve: Callable[..., object], face: _Face, parameters: object, argument: str, expected: str
) -> None:
    served = serve(face.bind)
    reply = _raw_call(served.path, {"method": "io.recorderd.test.Echo", "parameters": parameters})  # type: ignore[attr-defined]
    assert reply["error"] == "io.recorderd.InvalidArgument"
    assert reply["parameters"]["argument"] == argument
    assert reply["parameters"]["expected"] == expected


def test_unknown_names_and_wrong_modes(serve: Callable[..., object], face: _Face) -> None:
    path = serve(face.bind).path  # type: ignore[attr-defined]
    for call, error in (
        ({"method": "io.recorderd.test.Nope"}, "org.varlink.service.MethodNotFound"),
        ({"method": "com.example.Nope"}, "org.varlink.service.InterfaceNotFound"),
        ({"method": "io.recorderd.test.Raw", "parameters": {"text": "x"}}, "org.varlink.service.InvalidParameter"),
        (
            {"method": "io.recorderd.test.Echo", "parameters": {"text": "x"}, "upgrade": True},
            "org.varlink.service.InvalidParameter",
        ),
    ):
        assert _raw_call(path, call)["error"] == error
    one = _raw_call(path, {"method": "io.recorderd.test.Count", "parameters": {"text": "x", "times": 5}})
    assert one["parameters"]["times"] == 0
    assert "continues" not in one


def test_a_client_that_nobody_here_wrote(serve: Callable[..., object], face: _Face) -> None:
    path = serve(face.bind).path  # type: ignore[attr-defined]
    with varlink.Client(f"unix:{path}") as client:
        assert "GetVersion" in client.get_interface("io.recorderd").members
        with client.open("io.recorderd") as recorder:
            assert recorder.GetVersion()["protocol"] == 1


def test_access_is_denied_by_default(serve: Callable[..., object], face: _Face) -> None:
    nobody = AccessRules(None, None, own_uid=4_000_000)
    if os.geteuid() == 0:
        nobody = _without_root(nobody)
    path = str(serve(face.bind, rules=nobody).path)  # type: ignore[attr-defined]
    with Client.connect(path) as client, pytest.raises(PermissionDenied):
        client.call(ECHO, Text(text="x"))


def test_a_viewer_reads_and_does_not_operate(serve: Callable[..., object], face: _Face) -> None:
    viewer = _without_root(AccessRules(None, os.getegid(), own_uid=4_000_000))
    path = str(serve(face.bind, rules=viewer).path)  # type: ignore[attr-defined]
    with Client.connect(path) as client:
        assert client.call(ECHO, Text(text="x")).text == "x"
        with pytest.raises(PermissionDenied):
            client.call(BUG, Nothing())


def test_one_user_cannot_take_every_connection(serve: Callable[..., object], face: _Face) -> None:
    path = str(serve(face.bind, limits=Limits(connections_per_uid=3)).path)  # type: ignore[attr-defined]
    held = [Client.connect(path) for _ in range(3)]
    for client in held:
        client.call(ECHO, Text(text="x"))
    with Client.connect(path) as fourth, pytest.raises(LimitReached):
        fourth.call(ECHO, Text(text="x"))
    held[0].close()
    _until(lambda: _answers(path))
    for client in held[1:]:
        client.close()


def test_a_client_that_never_reads_is_cut_off_and_held_back_by_its_socket(
    serve: Callable[..., object], face: _Face
) -> None:
    served = serve(face.bind, limits=Limits(write_timeout_s=0.2))
    lazy = socket.socket(socket.AF_UNIX)
    lazy.connect(str(served.path))  # type: ignore[attr-defined]
    call = {
        "method": "io.recorderd.test.Raw",
        "parameters": {"text": "x" * 500_000, "times": 1_000_000},
        "upgrade": True,
    }
    lazy.sendall(json.dumps(call).encode() + b"\0")
    _until(lambda: bool(face.bodies) and face.bodies[0].closed)
    lazy.close()


@pytest.mark.parametrize("size", range(180_000, 320_000, 20_000))
def test_a_slow_reader_gets_the_last_byte_and_the_trailer(serve: Callable[..., object], face: _Face, size: int) -> None:
    """Sizes around what the kernel's socket buffer takes: the rest waits in the server, which has nothing more to do for this peer."""
    path = serve(face.bind).path  # type: ignore[attr-defined]
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        call = {"method": "io.recorderd.test.Raw", "parameters": {"text": "x" * size}, "upgrade": True}
        peer.sendall(json.dumps(call).encode() + b"\0")
        _until(lambda: bool(face.bodies))
        time.sleep(0.2)  # it sends what the kernel takes, and is done, or waits for us: both must come out whole
        data = b""
        while piece := peer.recv(65536):
            data += piece
    assert data.count(b"x" * 1000) == size // 1000
    assert data.endswith(b"}\0"), "the trailer"


@pytest.mark.parametrize("seed", range(8))
def test_garbage_ends_its_own_connection_only(serve: Callable[..., object], face: _Face, seed: int) -> None:
    path = serve(face.bind).path  # type: ignore[attr-defined]
    chance = random.Random(seed)
    good = json.dumps({"method": "io.recorderd.test.Echo", "parameters": {"text": "x"}}).encode() + b"\0"
    with Client.connect(str(path)) as witness:
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(5)
                peer.connect(str(path))
                kind = chance.randrange(6)
                data = (
                    chance.randbytes(chance.randrange(1, 3000)),
                    good[: chance.randrange(len(good))],
                    b'{"method":"' + b"[" * 50_000 + b"\0",
                    b'{"method":"x.Y","parameters":' + b'{"a":' * 20_000 + b"\0",
                    b'{"method":"\xff\xfe"}\0',
                    bytes(chance.choice(good) for _ in good),
                )[kind]
                try:
                    peer.sendall(data)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    continue
            assert witness.call(ECHO, Text(text="still")).text == "still"


def test_a_100_mb_message_is_refused_without_being_held(serve: Callable[..., object], face: _Face) -> None:
    path = serve(face.bind).path  # type: ignore[attr-defined]
    before = _resident_bytes()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        block = b"x" * (1 << 20)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100):
                peer.sendall(block)
    assert _resident_bytes() - before < 16 << 20


def test_a_thousand_connections(serve: Callable[..., object], face: _Face) -> None:
    path = str(serve(face.bind, limits=Limits(connections=200, connections_per_uid=100)).path)  # type: ignore[attr-defined]
    with Client.connect(path) as witness:
        witness.call(ECHO, Text(text="x"))
        crowd = []
        for _ in range(1000):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(path)  # blocks while the backlog is full
            crowd.append(peer)
        assert witness.call(ECHO, Text(text="still")).text == "still"
        for peer in crowd:
            peer.close()
    _until(lambda: _answers(path))


def _raw_call(path: Path, call: object) -> dict:  # type: ignore[type-arg]
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(json.dumps(call).encode() + b"\0")
        data = b""
        while not data.endswith(b"\0"):
            data += peer.recv(65536)
    return json.loads(data[:-1])


def _answers(path: str) -> bool:
    try:
        with Client.connect(path) as client:
            return client.call(ECHO, Text(text="x")).text == "x"
    except (LimitReached, ConnectionLost, OSError):
        return False


def _until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.01)


def _without_root(rules: AccessRules) -> AccessRules:
    """The same rules where uid 0 has no privilege, so that root can run these tests."""

    class Rootless(AccessRules):
        def access(self, uid: int, gids: frozenset[int]) -> Access | None:
            return super().access(uid or 1, gids)

    return Rootless(rules.operator_gid, rules.viewer_gid, rules.own_uid)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
