"""One run: the uninterrupted activity of one job on the tracks it has won, with a lane per receiver that feeds them.

The run outlives its receivers' sessions: a camera that goes away leaves a gap with a cause, and a new lane when it is back.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recorderd.model.causes import GapCause
from recorderd.model.job import INCOMPATIBLE_STREAM, RecordingJob
from recorderd.model.ports import HeldSession, MediaStore, PreBufferView, StoreUnavailable, WriterSpec, WriterTrack
from recorderd.model.recording import Recording, Track
from recorderd.model.stream import AccessUnit, MediaKind
from recorderd.model.timeline import RunCause
from recorderd.recording.activation import Route
from recorderd.recording.intake import Stream
from recorderd.recording.lane import Lane, LaneTrack, Tail
from recorderd.recording.tags import choose


@dataclass(frozen=True, slots=True)
class RunKey:
    """What makes two activities of a job the same run: a change of any of it ends one and begins another."""

    routes: tuple[Route, ...]
    receivers: tuple[uuid.UUID, ...]  # by source index
    priority: int


@dataclass(slots=True)
class Outlet:
    """One route of a run: its track and what hinders it."""

    route: Route
    track: Track
    receiver: uuid.UUID
    error: str = ""
    absent: bool = False  # the session has no such track
    had_data: bool = False


@dataclass(slots=True)
class Run:
    """A running run. `id` is the ring's."""

    id: int
    job: RecordingJob
    recording: Recording
    key: RunKey
    cause: RunCause
    started_ns: int
    outlets: tuple[Outlet, ...]
    hindrance: StoreUnavailable | None = None  # why the ring has not taken the run yet; `id` is 0 then
    lanes: dict[uuid.UUID, Lane] = field(default_factory=dict)
    gaps: dict[uuid.UUID, GapCause] = field(
        default_factory=dict
    )  # receiver -> the cause ledgered last, while it has no session

    def outlets_of(self, receiver: uuid.UUID) -> list[Outlet]:
        return [o for o in self.outlets if o.receiver == receiver]

    def tracks_of(self, receiver: uuid.UUID) -> list[uuid.UUID]:
        return [o.track.id for o in self.outlets if o.receiver == receiver]

    def renew(self, recording: Recording) -> None:
        """The recording's configuration changed, or what a track is known to hold."""
        self.recording = recording
        for outlet in self.outlets:
            outlet.track = recording.track(outlet.track.token) or outlet.track

    @property
    def receivers(self) -> frozenset[uuid.UUID]:
        return frozenset(o.receiver for o in self.outlets)

    @property
    def has_pictures(self) -> bool:
        """Whether every lane that carries video has stored a random access point: what an instant's recording must contain."""
        return bool(self.lanes) and all(lane.has_key for lane in self.lanes.values())


def backlog(
    stream: Stream,
    view: PreBufferView | None,
    from_ns: int,
    tails: Mapping[uuid.UUID, Tail],
    wanted: Mapping[int, uuid.UUID],
) -> list[AccessUnit]:
    """What of the pre-buffer goes in first: from the key frame at or before `from_ns`, less what the tracks already have.

    `wanted` maps tracks of the session to the recording's tracks. For units of earlier sessions see `recalled`.
    """
    session = stream.session
    if view is None or session is None:
        return []
    stored = {
        index: tail.arrival_ns
        for index, track in wanted.items()
        if (tail := tails.get(track)) is not None and _same_source(tail, stream, index)
    }
    return [
        unit
        for unit in view.since(from_ns)
        if unit.track in wanted
        and unit.arrival_ns >= session.started_ns
        and unit.arrival_ns > stored.get(unit.track, 0)
    ]


def recalled(held: HeldSession, token: str) -> Stream:
    """A session that has ended, as its stream was then: its media times have no relation to those of the session after it, so it gets a
    lane of its own."""
    past = Stream(held.session.receiver, token)
    past.open(replace(held.session, formats=held.formats))
    past.reports = list(held.reports)
    return past


def not_stored(held: HeldSession, tails: Mapping[uuid.UUID, Tail], wanted: Mapping[int, uuid.UUID]) -> list[AccessUnit]:
    """What of a session that has ended may still be stored: units behind the end of what their tracks hold of this receiver."""
    stored = {
        index: tail.arrival_ns
        for index, track in wanted.items()
        if (tail := tails.get(track)) is not None
        and tail.receiver == held.session.receiver
        and tail.session >= held.session.serial
    }
    return [unit for unit in held.units if unit.track in wanted and unit.arrival_ns > stored.get(unit.track, 0)]


def continues(stream: Stream, tails: Mapping[uuid.UUID, Tail], wanted: Mapping[int, uuid.UUID]) -> bool:
    """Whether the video tracks already hold everything of this session up to now, so that its next unit may follow directly."""
    video = [i for i in wanted if stream.formats[i].kind is MediaKind.VIDEO]
    return bool(video) and all(
        (tail := tails.get(wanted[i])) is not None
        and _same_source(tail, stream, i)
        and stream.session is not None
        and tail.arrival_ns == stream.session.times.last_ns(i)
        for i in video
    )


def _same_source(tail: Tail, stream: Stream, index: int) -> bool:
    session = stream.session
    return (
        session is not None
        and tail.receiver == stream.receiver
        and tail.session == session.serial
        and tail.stream_track == index
    )


def match(stream: Stream, outlets: Sequence[Outlet]) -> dict[int, Outlet]:
    """Tracks of the session -> the outlet they go to. Marks outlets whose stream is absent or incompatible."""
    chosen = choose(stream.formats, [(o.route.source_tag, o.track.configuration.type.kind) for o in outlets])
    matched: dict[int, Outlet] = {}
    for index, outlet in enumerate(outlets):
        outlet.error = ""
        outlet.absent = index not in chosen
        if outlet.absent:
            continue
        stream_track = chosen[index]
        codec = stream.formats[stream_track].codec.value
        if outlet.track.encoding and outlet.track.encoding != codec:
            outlet.error = INCOMPATIBLE_STREAM
        else:
            matched[stream_track] = outlet
    return matched


def open_lane(
    store: MediaStore,
    run: Run,
    stream: Stream,
    matched: Mapping[int, Outlet],
    *,
    source_name: str,
    first: Sequence[AccessUnit],
    tails: Mapping[uuid.UUID, Tail],
    urgent: bool,
) -> Lane:
    """The lane of one receiver of a run, with the pre-buffer's units already in it."""
    session = stream.session
    assert session is not None
    order = sorted(matched)
    tracks = tuple(LaneTrack(matched[i].track.id, matched[i].track.token, i, stream.formats[i]) for i in order)
    spec = WriterSpec(
        recording=run.recording.id,
        recording_name=run.recording.configuration.source.name or run.recording.token,
        receiver=stream.receiver,
        source=source_name,
        tracks=tuple(WriterTrack(t.track, t.format, t.token) for t in tracks),
        priority=run.key.priority,
    )
    wanted = {i: matched[i].track.id for i in order}
    if first:
        video = next((u for u in first if stream.formats[u.track].kind is MediaKind.VIDEO), None)
        mid_gop = video is not None and not video.key
    else:
        mid_gop = continues(stream, tails, wanted)
    lane = Lane(
        store=store,
        spec=spec,
        run=run.id,
        session=session.serial,
        tracks=tracks,
        clock=stream,
        urgent=urgent,
        mid_gop=mid_gop,
    )
    lane.take(first)
    return lane


def earliest(backlogs: Iterable[Sequence[AccessUnit]], now_ns: int) -> int:
    """When the run begins: with the first unit that goes into it."""
    return min((units[0].arrival_ns for units in backlogs if units), default=now_ns)
