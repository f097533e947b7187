"""What is known of each receiver's stream: its session, its tracks' formats and reports, and why there is none."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamSession
from recorderd.model.receiver import ReceiverState
from recorderd.model.stream import MediaKind, SenderReport, TrackFormat


@dataclass(slots=True)
class Stream:
    """One receiver as the recorder sees it. `requested` while ingest is asked to fetch it."""

    receiver: uuid.UUID
    token: str
    requested: bool = False
    requested_ns: int = 0
    session: StreamSession | None = None
    formats: list[TrackFormat] = field(default_factory=list)
    reports: list[SenderReport | None] = field(default_factory=list)
    metadata: frozenset[int] = frozenset()  # the tracks of that kind
    cause: GapCause | None = None  # why there is no session, once that is known
    detail: str = ""
    retry_ns: int = 0  # when the next attempt begins

    @property
    def state(self) -> ReceiverState:
        if self.session is not None:
            return ReceiverState.CONNECTED
        return ReceiverState.CONNECTING if self.requested else ReceiverState.NOT_CONNECTED

    def open(self, session: StreamSession) -> None:
        self.session = session
        self.formats = list(session.formats)
        self._note_metadata()
        self.reports = [None] * len(session.formats)
        self.cause = None
        self.detail = ""

    def close(self, cause: GapCause | None, detail: str) -> None:
        self.session = None
        self.formats = []
        self.metadata = frozenset()
        self.reports = []
        self.cause = cause
        self.detail = detail

    def anchor_time(self, stream_track: int, pts: int, arrival_ns: int) -> int:
        """Boot time of a media time by the minimum-delay estimate; never later than the unit's own arrival."""
        if self.session is None:
            return arrival_ns
        return min(arrival_ns, self.session.times.arrival_ns(stream_track, pts))

    def set_format(self, stream_track: int, new: TrackFormat) -> None:
        self.formats[stream_track] = new
        self._note_metadata()

    def _note_metadata(self) -> None:
        self.metadata = frozenset(i for i, form in enumerate(self.formats) if form.kind is MediaKind.METADATA)

    def report(self, stream_track: int) -> SenderReport | None:
        return self.reports[stream_track] if stream_track < len(self.reports) else None
