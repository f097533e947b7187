"""One change of the configuration: checked on a draft, stored, applied, acted on and announced, in this order.

The state file comes before everything else, so nothing is seen or done that a power cut could take back. A rule that raises, or a state
file that cannot be written, leaves everything as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from recorderd.model.faults import StateUnavailable
from recorderd.model.objects import Change, Draft, Objects, apply
from recorderd.state.store import StateError

T = TypeVar("T")


class StateStore(Protocol):
    """What the recording service needs of `state.store.Store`."""

    def load(self) -> Objects: ...

    async def commit(self, change: Change) -> None: ...

    def secret(self, kind: str, key: str, name: str) -> str | None: ...


class Transactions:
    """`applied(before, change)` is called after the objects have changed; `before` holds what the touched objects were."""

    def __init__(self, *, objects: Objects, state: StateStore, applied: Callable[[Objects, Change], None]) -> None:
        self._objects = objects
        self._state = state
        self._applied = applied
        self._one_at_a_time = asyncio.Lock()

    async def run(self, rule: Callable[[Draft], T]) -> T:
        """Runs a rule and makes what it drafted count. Raises what the rule raises, and `StateUnavailable`."""
        async with self._one_at_a_time:
            draft = Draft(self._objects)
            result = rule(draft)
            change = draft.change
            if not change:
                return result
            try:
                await asyncio.shield(self._store(change))
            except StateError as error:
                raise StateUnavailable(f"nothing was changed: {error}") from error
            return result

    async def _store(self, change: Change) -> None:
        """Runs to its end even when the client that asked goes away: what is stored must be applied."""
        await self._state.commit(change)
        before = Objects()
        for kind, key in [*change.puts, *change.deletes]:
            old = self._objects.tables[kind].get(key)
            if old is not None:
                before.tables[kind][key] = old
        apply(self._objects, change)
        self._applied(before, change)

    def read(self) -> Draft:
        """A view of the objects as they are."""
        return Draft(self._objects)
