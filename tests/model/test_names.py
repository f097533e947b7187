"""Names of cameras: addresses need no resolver, and a name server that is dead holds up nobody else's camera."""

from __future__ import annotations

import asyncio
import socket
import threading
import uuid
from dataclasses import replace

import pytest

from recorderd.events.listening.connecting import NotHeard, connect
from recorderd.ingest.connecting import NotConnected, connect_socket
from recorderd.model import names as module
from recorderd.model.causes import GapCause
from recorderd.model.names import Address, Names, NotResolved, literal
from recorderd.model.ports import EventStreamRequest

HERE = Address(socket.AF_INET, "127.0.0.1")


class NameServer:
    """Answers what it is told to; names in `dead` block until `release`."""

    def __init__(self, *dead: str) -> None:
        self.dead = set(dead)
        self.alive = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if host in self.dead:
            assert self.alive.wait(20)
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [HERE]


def refuse(host: str) -> list[Address]:
    raise AssertionError(f"{host} was looked up")


@pytest.mark.parametrize("host", ["192.0.2.7", "::1", "2001:db8::7"])
def test_addresses_never_reach_a_resolver(host):
    (address,) = asyncio.run(Names(refuse).addresses(host, 0.0))
    assert (address.host, address.scope) == (host, 0)


def test_an_address_of_a_link_keeps_its_interface():
    address = literal("fe80::1%lo")
    assert address is not None
    assert address.at(554) == ("fe80::1", 554, 0, socket.if_nametoindex("lo"))
    with pytest.raises(NotResolved, match="interface nosuch"):
        literal("fe80::1%nosuch")


def test_connecting_to_an_address_starts_no_thread_and_asks_no_executor(monkeypatch):
    async def scenario():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "run_in_executor", refuse)
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        before = threading.active_count()
        sock = await connect_socket("127.0.0.1", server.sockets[0].getsockname()[1], names=Names(refuse))
        assert threading.active_count() == before
        sock.close()
        server.close()

    asyncio.run(scenario())


def test_dead_names_hold_up_nobody():
    """As many dead names as fit beside one that lives: its look-up is answered while all the others still wait."""
    dead = [f"dead{n}" for n in range(module.MAX_LOOKUPS - 1)]
    server = NameServer(*dead)

    async def scenario():
        names = Names(server)
        waiting = [asyncio.ensure_future(names.addresses(host, 20)) for host in dead]
        await asyncio.sleep(0)
        assert await names.addresses("alive", 20) == [HERE]
        assert not any(task.done() for task in waiting)
        server.alive.set()
        assert await asyncio.gather(*waiting) == [[HERE]] * len(dead)

    asyncio.run(scenario())


def test_one_look_up_a_name_and_a_bound_on_all():
    dead = [f"dead{n}" for n in range(module.MAX_LOOKUPS)]
    server = NameServer(*dead)

    async def scenario():
        names = Names(server)
        for host in dead * 3:
            with pytest.raises(NotResolved, match="no answer within"):
                await names.addresses(host, 0.0)
        assert sorted(server.asked) == sorted(dead)
        with pytest.raises(NotResolved, match="too many"):
            await names.addresses("one more", 0.0)
        server.alive.set()
        assert await names.addresses(dead[0], 20) == [HERE]

    asyncio.run(scenario())


def test_a_name_known_from_before_serves_while_the_name_server_is_dead(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    server = NameServer()

    async def scenario():
        names = Names(server)
        assert await names.addresses("camera", 20) == [HERE]
        server.dead.add("camera")
        assert await names.addresses("camera", 20) == [HERE]
        server.alive.set()

    asyncio.run(scenario())
    assert server.asked == ["camera", "camera"]


def test_what_is_known_is_bounded():
    async def scenario():
        names = Names(NameServer())
        for number in range(module.MAX_KNOWN + 10):
            await names.addresses(f"camera{number}", 20)
        return names

    names = asyncio.run(scenario())
    assert len(names._known) == module.MAX_KNOWN


@pytest.mark.parametrize(("host", "why"), [("unknown", "Name or service not known"), ("a" * 70, "not a host name")])
def test_what_cannot_be_resolved_is_said(host, why):
    lookup = NameServer() if host == "unknown" else module.system_lookup

    async def scenario():
        with pytest.raises(NotConnected, match=why) as caught:
            await connect_socket(host, 554, names=Names(lookup))
        assert caught.value.cause is GapCause.CAMERA_UNREACHABLE

    asyncio.run(scenario())


def test_an_address_that_does_not_answer_does_not_hide_the_next():
    """The first takes connections and says nothing to any more of them: its queue is full."""

    async def scenario():
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        second = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.2", port)
        found = [Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET, "127.0.0.2")]
        sock = await connect_socket("camera", port, 3.0, Names(lambda _: found))
        assert sock.getpeername()[0] == "127.0.0.2"
        with pytest.raises(NotConnected, match="no answer to the connection within"):
            await connect_socket("127.0.0.1", port, 0.2)
        for other in (sock, full, *waiting):
            other.close()
        second.close()

    asyncio.run(scenario())


def test_event_streams_do_not_wait_behind_dead_names_either():
    server = NameServer("dead")

    async def scenario():
        names = Names(server)
        request = EventStreamRequest("cam", uuid.UUID(int=1), "websocket", "dead", 80, encrypted=False)
        dead = asyncio.ensure_future(connect(request, names))
        accepted = asyncio.Event()
        listening = await asyncio.start_server(lambda reader, writer: (accepted.set(), writer.close()), "127.0.0.1", 0)
        alive = replace(request, host="alive", port=listening.sockets[0].getsockname()[1])
        _, writer = await connect(alive, names)
        await accepted.wait()
        assert not dead.done()
        with pytest.raises(NotHeard, match="Name or service not known"):
            await connect(replace(request, host="unknown"), names)
        writer.close()
        listening.close()
        dead.cancel()
        server.alive.set()

    asyncio.run(scenario())
