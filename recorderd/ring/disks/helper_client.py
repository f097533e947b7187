"""The daemon's side of the helper's socket: one connection per request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from recorderd.protocol import helper

R = TypeVar("R", bound=helper.Reply)


class HelperFailed(Exception):
    """The helper refused, failed, or cannot be reached; the text is for a person."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class HelperClient:
    def __init__(self, *, path: str) -> None:
        self._path = path

    async def ask(
        self,
        request: helper.Request,
        answer: type[R],
        *,
        tell: Callable[[str], None] | None = None,
        timeout_s: float = 120.0,
    ) -> R:
        """The answer to one request; progress goes to `tell`. Raises HelperFailed."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(request, answer, tell)
        except TimeoutError:
            raise HelperFailed(f"the helper has not answered for {timeout_s:.0f} s") from None
        except OSError as error:
            raise HelperFailed(f"cannot reach recorderd-helper at {self._path}: {error.strerror or error}") from None

    async def _ask(self, request: helper.Request, answer: type[R], tell: Callable[[str], None] | None) -> R:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=helper.MAX_LINE)
        try:
            writer.write(helper.encode(request))
            await writer.drain()
            while True:
                try:
                    line = await reader.readline()
                    reply = helper.decode_reply(line)
                except ValueError as error:
                    raise HelperFailed(f"the helper speaks nonsense: {error}") from None
                if isinstance(reply, helper.Progress):
                    if tell is not None:
                        tell(reply.text)
                elif isinstance(reply, helper.Failed):
                    raise HelperFailed(reply.text, refused=reply.refused)
                elif isinstance(reply, answer):
                    return reply
                else:
                    raise HelperFailed("the helper gave another answer than was asked for")
        finally:
            writer.close()
