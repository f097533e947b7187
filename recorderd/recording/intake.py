"""What is known of each receiver's stream: its session, its tracks' estimates, and why there is none."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamSession
from recorderd.model.receiver import ReceiverState
from recorderd.model.stream import AccessUnit, MediaKind, SenderReport, TrackFormat
from recorderd.rtsp.arrival import ArrivalEstimate


@dataclass(slots=True)
class Stream:
    """One receiver as the recorder sees it. `requested` while ingest is asked to fetch it."""

    receiver: uuid.UUID
    token: str
    requested: bool = False
    requested_ns: int = 0
    session: StreamSession | None = None
    formats: list[TrackFormat] = field(default_factory=list)
    estimates: list[ArrivalEstimate] = field(default_factory=list)
    reports: list[SenderReport | None] = field(default_factory=list)
    last_arrival_ns: list[int] = field(default_factory=list)  # per track of the session; 0: nothing yet
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
        self.estimates = [ArrivalEstimate(f.clock_rate) for f in session.formats]
        self.reports = [None] * len(session.formats)
        self.last_arrival_ns = [0] * len(session.formats)
        self.cause = None
        self.detail = ""

    def close(self, cause: GapCause | None, detail: str) -> None:
        self.session = None
        self.formats = []
        self.metadata = frozenset()
        self.estimates = []
        self.reports = []
        self.last_arrival_ns = []
        self.cause = cause
        self.detail = detail

    def observe(self, units: Sequence[AccessUnit]) -> None:
        """What one sweep completed. Of units that arrived together only a track's newest says something about delays."""
        arrival_ns = units[-1].arrival_ns
        if units[0].arrival_ns != arrival_ns:  # held back while a session waited for its formats
            self.observe_all(units)
            return
        newest: dict[int, int] = {}
        for unit in units:
            track, pts = unit.track, unit.pts
            if track not in newest or pts > newest[track]:
                newest[track] = pts
        for track, pts in newest.items():
            self.estimates[track].observe(pts, arrival_ns)
            self.last_arrival_ns[track] = arrival_ns

    def observe_all(self, units: Sequence[AccessUnit]) -> None:
        """Units of many sweeps."""
        for unit in units:
            self.estimates[unit.track].observe(unit.pts, unit.arrival_ns)
            self.last_arrival_ns[unit.track] = unit.arrival_ns

    def anchor_time(self, stream_track: int, pts: int, arrival_ns: int) -> int:
        """Boot time of a media time by the minimum-delay estimate; never later than the unit's own arrival."""
        if stream_track >= len(self.estimates):
            return arrival_ns
        return min(arrival_ns, self.estimates[stream_track].arrival_ns(pts))

    def set_format(self, stream_track: int, new: TrackFormat) -> None:
        self.formats[stream_track] = new
        self._note_metadata()

    def _note_metadata(self) -> None:
        self.metadata = frozenset(i for i, form in enumerate(self.formats) if form.kind is MediaKind.METADATA)

    def report(self, stream_track: int) -> SenderReport | None:
        return self.reports[stream_track] if stream_track < len(self.reports) else None
