"""The encoding of each track's first data, on its way into the state file: the recorder cannot wait for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from recorderd.model.faults import StateUnavailable
from recorderd.model.objects import Draft
from recorderd.recording.rules import recordings
from recorderd.recording.transactions import Transactions

log = logging.getLogger(__name__)


class Encodings:
    """`wake` is called when there is something to store."""

    def __init__(self, *, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: dict[tuple[str, str], str] = {}
        self._fails = False

    def note(self, recording: str, track: str, encoding: str) -> None:
        """Told by the recorder, on its way."""
        self._waiting[recording, track] = encoding
        self._wake()

    async def store(self, transactions: Transactions) -> None:
        """What waits; what the state file does not take goes with the next turn, and recording goes on."""
        while self._waiting:
            (recording, track), encoding = next(iter(self._waiting.items()))

            def note(draft: Draft, recording: str = recording, track: str = track, encoding: str = encoding) -> None:
                held = draft.recordings.get(recording)
                if held is not None and (old := held.track(track)) is not None and not old.encoding:
                    recordings.note_encoding(draft, recording, track, encoding)

            try:
                await transactions.run(note)
            except StateUnavailable as error:
                if not self._fails:
                    log.warning("the encoding of %s of %s is not stored: %s", track, recording, error)
                self._fails = True
                return
            self._fails = False
            del self._waiting[recording, track]
