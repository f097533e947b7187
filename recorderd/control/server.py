"""The Varlink server: connections, limits, access, and dispatch. What a method does is in the faces beside this file.

Theory of operation. One task per connection reads calls and answers them one after another. A peer is known by the kernel's word before its
first byte is read; one that may do nothing is told so once and closed. Limits hold per user id, so that viewers cannot starve operators. A
peer that does not read what it asked for is cut off after `write_timeout_s`; nothing of it is held meanwhile beyond one reply and the
socket's buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import msgspec

from recorderd import __version__
from recorderd.control.arguments import decode
from recorderd.control.dispatch import Dispatch, Entry, Last
from recorderd.control.peer import AccessRules, Peer
from recorderd.protocol import core, introspection, upgrade
from recorderd.protocol.errors import (
    ControlError,
    ExpectedMore,
    InterfaceNotFound,
    InternalError,
    InvalidParameter,
    LimitReached,
    MethodNotFound,
    PermissionDenied,
    Unavailable,
)
from recorderd.protocol.framing import MAX_MESSAGE_BYTES, MessageTooLong, frame
from recorderd.protocol.interface import Access
from recorderd.protocol.message import Call, Nothing, encode_reply

log = logging.getLogger(__name__)
_REFUSAL_S = 5.0
_KEEP_THE_SOCKET: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""The listening socket is its opener's, systemd's for one: from Python 3.13 on asyncio would unlink it when a server ends."""
_CALL = msgspec.json.Decoder(Call)


@dataclass(frozen=True, slots=True)
class Limits:
    connections: int = 256
    connections_per_uid: int = 64
    reserved_for_operators: int = 32  # of `connections`
    write_timeout_s: float = 30.0
    backlog: int = 128


class ControlServer:
    """Serves `dispatch` on a listening Unix socket until cancelled."""

    def __init__(self, *, dispatch: Dispatch, rules: AccessRules, limits: Limits | None = None) -> None:
        self._dispatch = dispatch
        self._rules = rules
        self._limits = limits or Limits()
        self._open: Counter[int] = Counter()
        dispatch.reply(introspection.GET_INFO, self._get_info)
        dispatch.reply(introspection.GET_INTERFACE_DESCRIPTION, self._get_interface_description)
        dispatch.reply(core.GET_VERSION, self._get_version)

    @property
    def connections(self) -> int:
        return self._open.total()

    async def serve(self, listening: socket.socket) -> None:
        """Accepts until cancelled; then closes every connection. Raises OSError when the socket cannot be listened on."""
        async with asyncio.TaskGroup() as group:

            def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                connection: socket.socket = writer.get_extra_info("socket")
                try:
                    peer = self._rules.identify(connection)
                except OSError as error:
                    log.info("control: a peer left before it could be identified: %s", error.strerror)
                    writer.transport.abort()
                    return
                self._open[peer.uid] += 1
                task = group.create_task(self._connection(peer, reader, writer), name=f"control:{peer.pid}")
                task.add_done_callback(lambda _: self._forget(peer))

            server = await asyncio.start_unix_server(
                accepted, sock=listening, limit=MAX_MESSAGE_BYTES, backlog=self._limits.backlog, **_KEEP_THE_SOCKET
            )
            try:
                # Not serve_forever(): from Python 3.12 on its end waits for the clients to leave, and a watching one never does.
                await asyncio.get_running_loop().create_future()
            finally:
                server.close()

    def _forget(self, peer: Peer) -> None:
        self._open[peer.uid] -= 1
        if not self._open[peer.uid]:
            del self._open[peer.uid]

    def _refusal(self, peer: Peer) -> ControlError | None:
        if peer.access is None:
            return PermissionDenied()
        if self._open[peer.uid] > self._limits.connections_per_uid:
            return LimitReached("connections of one user", self._limits.connections_per_uid)
        allowed = self._limits.connections - (0 if peer.may(Access.OPERATE) else self._limits.reserved_for_operators)
        if self.connections > allowed:
            return LimitReached("connections", allowed)
        return None

    async def _connection(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._limits.write_timeout_s)
        try:
            if (refusal := self._refusal(peer)) is not None:
                # Its call is taken in first: closing a socket with unread bytes would take the answer back (unix(7): ECONNRESET).
                async with asyncio.timeout(_REFUSAL_S):
                    await _next_message(reader)
                await connection.send(_error(refusal))
                await connection.finish()
                return
            while (message := await _next_message(reader)) is not None:
                if not await self._answer(message, peer, connection):
                    break
            await connection.finish()
        except (OSError, TimeoutError, MessageTooLong) as error:
            log.info(
                "control: connection of pid %d (uid %d) ended: %s", peer.pid, peer.uid, error or type(error).__name__
            )
        finally:
            connection.abort()

    async def _answer(self, message: bytes, peer: Peer, connection: _Connection) -> bool:
        """Answers one call; False when the connection serves nothing more."""
        try:
            call = _CALL.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False  # not Varlink: there is nothing to answer to
        try:
            entry = self._entry(call, peer)
            parameters = decode(call.parameters, entry.method.parameters)
            if entry.upgrade is not None:
                if not call.upgrade:
                    raise InvalidParameter("upgrade")
                await self._upgrade(entry, parameters, peer, connection)
                return False
            if call.upgrade:
                raise InvalidParameter("upgrade")
            if entry.stream is not None:
                await _stream(entry, parameters, peer, connection, call)
            elif entry.reply is not None:
                reply = encode_reply(await entry.reply(parameters, peer))
                if not call.oneway:
                    await connection.send(reply)
        except ControlError as error:
            if not call.oneway:
                await connection.send(_error(error))
        except (OSError, TimeoutError, MessageTooLong):
            raise
        except Exception:  # the border of a client: a bug in one handler must not end the recording
            log.exception("control: %s failed", call.method)
            if not call.oneway:
                await connection.send(_error(InternalError()))
        return True

    def _entry(self, call: Call, peer: Peer) -> Entry:
        entry = self._dispatch.entries.get(call.method)
        if entry is None:
            interface, _, _ = call.method.rpartition(".")
            if interface in self._dispatch.interfaces:
                raise MethodNotFound(call.method[:200])
            raise InterfaceNotFound(interface[:200])
        if not peer.may(entry.method.access):
            raise PermissionDenied
        return entry

    async def _upgrade(self, entry: Entry, parameters: msgspec.Struct, peer: Peer, connection: _Connection) -> None:
        assert entry.upgrade is not None
        granted = await entry.upgrade(parameters, peer)
        try:
            if granted.beside is None:
                await connection.send(encode_reply(granted.reply))
            else:
                with granted.beside:
                    await connection.send_with(encode_reply(granted.reply), granted.beside.fileno())
            async for piece in granted.body:
                if not piece and connection.peer_left:
                    return
                view = memoryview(piece)
                for start in range(0, len(view), upgrade.MAX_CHUNK_BYTES):
                    part = view[start : start + upgrade.MAX_CHUNK_BYTES]
                    await connection.send_raw(upgrade.chunk_header(len(part)), part)
            await connection.send_raw(upgrade.end(granted.body.trailer()))
        finally:
            await granted.body.aclose()

    async def _get_info(self, _call: Nothing, _peer: Peer) -> introspection.Info:
        return introspection.Info(
            vendor="recorderd",
            product="recorderd",
            version=__version__,
            url="",
            interfaces=sorted(self._dispatch.interfaces),
        )

    async def _get_interface_description(
        self, call: introspection.DescriptionCall, _peer: Peer
    ) -> introspection.Description:
        interface = self._dispatch.interfaces.get(call.interface)
        if interface is None:
            raise InterfaceNotFound(call.interface[:200])
        return introspection.Description(description=interface.description())

    async def _get_version(self, _call: Nothing, _peer: Peer) -> core.Version:
        return core.Version(version=__version__, protocol=core.PROTOCOL)


class _Connection:
    """The sending side: every send ends, by success, error or time-out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, write_timeout_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_s = write_timeout_s
        self._finished = False

    @property
    def peer_left(self) -> bool:
        """Whether it has closed its side. To be asked when nothing is sent that would tell."""
        return self._reader.at_eof()

    async def send(self, message: bytes) -> None:
        await self.send_raw(frame(message))

    async def send_with(self, message: bytes, descriptor: int) -> None:
        """A message with a descriptor beside it, which comes with its first byte (unix(7))."""
        data = frame(message)
        self._writer.transport.set_write_buffer_limits(0)  # from here on `drain` waits until nothing waits
        async with asyncio.timeout(self._timeout_s):
            await self._writer.drain()
            with self._writer.get_extra_info("socket").dup() as connection:
                sent = await _send_fd(connection, data, descriptor)
        await self.send_raw(data[sent:])

    async def send_raw(self, *parts: bytes | memoryview) -> None:
        self._writer.writelines(parts)
        async with asyncio.timeout(self._timeout_s):
            await self._writer.drain()

    async def finish(self) -> None:
        """Closes when everything sent has been taken: `drain` comes back while the last of it still waits. Raises OSError, TimeoutError."""
        self._writer.close()
        async with asyncio.timeout(self._timeout_s):
            await self._writer.wait_closed()
        self._finished = True

    def abort(self) -> None:
        """Closes at once; what was not taken is lost. Does nothing after `finish`."""
        if not self._finished:
            self._writer.transport.abort()


async def _send_fd(connection: socket.socket, data: bytes, descriptor: int) -> int:
    """The bytes sent, at least one."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return socket.send_fds(connection, [data], [descriptor])
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_writer(connection, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(connection)


async def _next_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next call, or None at the end of the stream. Raises MessageTooLong."""
    try:
        return (await reader.readuntil(b"\0"))[:-1]
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise MessageTooLong("a message over 1 MiB") from error


async def _stream(entry: Entry, parameters: msgspec.Struct, peer: Peer, connection: _Connection, call: Call) -> None:
    assert entry.stream is not None
    if call.oneway:
        raise ExpectedMore
    async with contextlib.AsyncExitStack() as stack:
        replies = entry.stream(parameters, peer)
        if isinstance(replies, AsyncGenerator):
            await stack.enter_async_context(contextlib.aclosing(replies))
        async for reply in replies:
            last = isinstance(reply, Last) or not call.more
            message = reply.reply if isinstance(reply, Last) else reply
            await connection.send(encode_reply(message, continues=not last))
            if last:
                return
    raise Unavailable("the stream ended")


def _error(error: ControlError) -> bytes:
    return encode_reply(error.parameters(), error=error.name)
