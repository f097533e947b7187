"""A `StreamSink` that remembers, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamSession
from recorderd.model.stream import AccessUnit, SenderReport, TrackFormat


class Gather:
    """Everything a sink was told, in order, in `log`; the access units per track in `tracks`."""

    def __init__(self) -> None:
        self.log: list[tuple] = []
        self.sessions: list[StreamSession] = []
        self.tracks: dict[int, list[AccessUnit]] = {}
        self.reports: list[SenderReport] = []
        self.changed = asyncio.Event()
        self.keep = True  # the units; the arrival times of the first track's are kept always
        self.arrivals: list[int] = []
        self.explained: list[tuple[int, int | None]] = []  # from, to; None: up to the next picture

    def _note(self, *what: object) -> None:
        self.log.append(what)
        self.changed.set()

    def session_opened(self, session: StreamSession) -> None:
        self.sessions.append(session)
        self._note("opened", session.serial)

    def format_changed(self, session: StreamSession, track: int, new: TrackFormat) -> None:
        self._note("format", track, new)

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        assert session is self.sessions[-1]
        for unit in units:
            assert type(unit.data) is bytes
            if unit.track == 0:
                self.arrivals.append(unit.arrival_ns)
            if self.keep:
                self.tracks.setdefault(unit.track, []).append(unit)
        self.changed.set()

    def sender_report(self, session: StreamSession, track: int, report: SenderReport) -> None:
        self.reports.append(report)

    def interrupted(
        self, session: StreamSession, tracks: Sequence[int], cause: GapCause, from_ns: int, to_ns: int, detail: str
    ) -> None:
        assert from_ns <= to_ns
        self._note("interrupted", tuple(tracks), cause, from_ns, to_ns, detail)
        self.explained.append((from_ns, to_ns))

    def session_closed(self, session: StreamSession, cause: GapCause, detail: str) -> None:
        self._note("closed", cause, detail)
        self.explained.append((self.arrivals[-1] if self.arrivals else 0, None))

    def no_session(self, receiver: object, cause: GapCause, detail: str, retry_in_s: float) -> None:
        self._note("no session", cause, detail, retry_in_s)

    def said(self, kind: str) -> list[tuple]:
        return [entry for entry in self.log if entry[0] == kind]

    def unexplained(self, longer_than_ns: int) -> list[tuple[int, int]]:
        """Stretches without a picture that no end of a session and no interruption covers."""
        holes = [(a, b) for a, b in pairwise(self.arrivals) if b - a > longer_than_ns]
        return [
            (a, b)
            for a, b in holes
            if not any(
                since <= a and ((to is None and since >= a) or (to is not None and to >= b))
                for since, to in self.explained
            )
        ]

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Waits until `condition` holds; looked at whenever something was told."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
