"""Between a session and its sink: the pre-buffer gets everything first, so that a job that starts now finds it there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

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
        self._said = prebuffer.short_detail if prebuffer is not None else ""
        on_short(self._said)

    def _tell(self, prebuffer: PreBuffer) -> None:
        if prebuffer.short_detail != self._said:
            self._said = prebuffer.short_detail
            self._on_short(self._said)

    def session_opened(self, session: StreamSession) -> None:
        if self.prebuffer is not None:
            self.prebuffer.session_opened(session)
        self.sink.session_opened(session)

    def format_changed(self, session: StreamSession, track: int, new: TrackFormat) -> None:
        if self.prebuffer is not None:
            self.prebuffer.format_changed(track, new)
        self.sink.format_changed(session, track, new)

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        if self.prebuffer is not None:
            self.prebuffer.add(units)
            self._tell(self.prebuffer)
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
        if self.prebuffer is not None:
            self.prebuffer.session_closed(cause)
        self.sink.session_closed(session, cause, detail)

    def no_session(self, receiver: uuid.UUID, cause: GapCause, detail: str, retry_in_s: float) -> None:
        self.sink.no_session(receiver, cause, detail, retry_in_s)
