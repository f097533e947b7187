"""Packets of one port, taken by the privileged helper, as pcapng. Headers only: the helper keeps 256 bytes of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from recorderd.network.pcapng import Converter, NotPcap
from recorderd.protocol import helper
from recorderd.protocol.upgrade import Trailer

READ_BYTES = 64 * 1024
SLACK_S = 10.0


class CaptureFailed(Exception):
    """The helper refused, failed, or cannot be reached; one line."""


class Capture:
    """A running capture: iterate for the bytes, then ask for the trailer; close in every case (`control.dispatch.Body`)."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, interface: str, seconds: int
    ) -> None:
        self._reader, self._writer = reader, writer
        self._converter = Converter(interface)
        self._seconds = seconds
        self._bytes = 0
        self._reason = ""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(self._seconds + SLACK_S):
                while data := await self._reader.read(READ_BYTES):
                    for block in self._converter.feed(data):
                        self._bytes += len(block)
                        yield block
        except (OSError, TimeoutError, NotPcap) as error:
            self._reason = f"the helper stopped: {error}"

    def trailer(self) -> Trailer:
        return Trailer(complete=not self._reason, reason=self._reason, bytes=self._bytes)

    async def aclose(self) -> None:
        self._writer.close()


async def start(socket_path: str, interface: str, *, seconds: int, max_bytes: int) -> Capture:
    """Returns once the helper has agreed. Raises CaptureFailed."""
    try:
        async with asyncio.timeout(SLACK_S):
            reader, writer = await asyncio.open_unix_connection(socket_path, limit=helper.MAX_LINE)
            try:
                writer.write(helper.encode(helper.Capture(interface=interface, seconds=seconds, max_bytes=max_bytes)))
                await writer.drain()
                reply = helper.decode_reply(await reader.readline())
            except BaseException:
                writer.close()
                raise
    except TimeoutError as error:
        raise CaptureFailed("recorderd-helper does not answer") from error
    except OSError as error:
        raise CaptureFailed(f"cannot reach recorderd-helper at {socket_path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CaptureFailed(f"recorderd-helper speaks nonsense: {error}") from error
    if isinstance(reply, helper.Done):
        return Capture(reader, writer, interface, seconds)
    writer.close()
    raise CaptureFailed(
        reply.text if isinstance(reply, helper.Failed) else "the helper gave another answer than was asked for"
    )
