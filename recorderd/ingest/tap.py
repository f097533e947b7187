"""Between a session and its sink: the pre-buffer gets everything first, so that a job that starts now finds it there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from recorderd.ingest.prebuffer import PreBuffer
from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamSession, StreamSink
from recorderd.model.stream import AccessUnit, SenderReport, TrackFormat


class Tap:
    """A `StreamSink` in front of another. `on_short` hears why the pre-buffer holds less than was asked for, at first and at every change;
    empty: it does not."""

    def __init__(self, sink: StreamSink, prebuffer: PreBuffer | None, on_short: Callable[[str], None]) -> None:
        self.sink = sink
        self.prebuffer = prebuffer
        self._on_short = on_short
        self._session: StreamSession | None = None  # the present one, with the formats in force
        self._said: str | None = None
        self.tell()

    def tell(self) -> None:
        detail = self.prebuffer.short_detail if self.prebuffer is not None else ""
        if detail != self._said:
            self._said = detail
            self._on_short(detail)

    def hold(self, prebuffer: PreBuffer | None) -> None:
        """Another pre-buffer, or none, from here on."""
        self.prebuffer = prebuffer
        if prebuffer is not None and self._session is not None:
            prebuffer.session_opened(self._session)
        self.tell()

    def session_opened(self, session: StreamSession) -> None:
        self._session = session
        if self.prebuffer is not None:
            self.prebuffer.session_opened(session)
        self.sink.session_opened(session)

    def format_changed(self, session: StreamSession, track: int, new: TrackFormat) -> None:
        if self._session is not None:
            formats = self._session.formats
            self._session = replace(self._session, formats=(*formats[:track], new, *formats[track + 1 :]))
        if self.prebuffer is not None:
            self.prebuffer.format_changed(track, new)
        self.sink.format_changed(session, track, new)

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        if self.prebuffer is not None:
            self.prebuffer.add(units)
            self.tell()
        self.sink.units(session, units)

    def sender_report(self, session: StreamSession, track: int, report: SenderReport) -> None:
        if self.prebuffer is not None:
            self.prebuffer.sender_report(track, report)
        self.sink.sender_report(session, track, report)

    def interrupted(
        self, session: StreamSession, tracks: Sequence[int], cause: GapCause, from_ns: int, to_ns: int, detail: str
    ) -> None:
        self.sink.interrupted(session, tracks, cause, from_ns, to_ns, detail)

    def session_closed(self, session: StreamSession, cause: GapCause, detail: str) -> None:
        self._session = None
        if self.prebuffer is not None:
            self.prebuffer.session_closed(cause)
        self.sink.session_closed(session, cause, detail)

    def no_session(self, receiver: uuid.UUID, cause: GapCause, detail: str, retry_in_s: float) -> None:
        self.sink.no_session(receiver, cause, detail, retry_in_s)
