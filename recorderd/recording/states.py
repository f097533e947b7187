"""What a recording job may truthfully say of itself (5.19, table 3): pure functions over a run and its streams.

Active is said of a track only while its media reached the disk within the writer's stated loss bound plus two ticks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from recorderd.model.causes import GapCause, RecordingState
from recorderd.model.job import JobSourceState, JobState, JobTrackState, RecordingJob, aggregate
from recorderd.model.receiver import ReceiverMode
from recorderd.model.stream import MediaKind
from recorderd.recording.intake import Stream
from recorderd.recording.lane import Lane, LaneTrack
from recorderd.recording.runs import Outlet, Run

CONNECT_GRACE_NS = 10_000_000_000  # a first session may take this long before its absence is an error

CAUSE_TEXT: dict[GapCause, str] = {
    GapCause.CAMERA_SILENT: "Camera went silent",
    GapCause.CAMERA_CLOSED: "Camera closed the session",
    GapCause.CAMERA_RESET: "Camera reset the connection",
    GapCause.CAMERA_UNREACHABLE: "Camera unreachable",
    GapCause.CAMERA_REFUSED: "Camera refused the connection",
    GapCause.UNAUTHORIZED: "Wrong credentials",
    GapCause.NOT_FOUND: "No such stream on the camera",
    GapCause.CAMERA_ERROR: "Camera answered with an error",
    GapCause.NO_MEDIA: "Camera sends no media",
    GapCause.DISK_ERROR: "Disk error",
    GapCause.DISK_MISSING: "No disk",
    GapCause.DISK_SLOW: "Disk too slow",
    GapCause.RING_FULL_OF_LOCKS: "Disk full of locked recordings",
    GapCause.MEMORY: "Out of media memory",
    GapCause.LINK_DOWN: "Link down",
    GapCause.PORT_POWER_OFF: "Port without power",
    GapCause.PORT_CYCLED: "Port is being power-cycled",
    GapCause.PORT_FAULT: "Port fault",
}

Shown = tuple[RecordingState, str]


def session_state(stream: Stream, mode: ReceiverMode, run: Run, now_ns: int) -> Shown | None:
    """Of all tracks of a receiver while it has no session; None when it has one."""
    if stream.session is not None:
        return None
    if mode is ReceiverMode.NEVER_CONNECT:
        return RecordingState.IDLE, ""
    if not stream.requested:
        return RecordingState.ERROR, "Receiver has no media URI"
    if stream.cause is None:
        since_ns = max(run.started_ns, stream.requested_ns)
        waits = now_ns - since_ns < CONNECT_GRACE_NS
        return (RecordingState.IDLE, "") if waits else (RecordingState.ERROR, "Camera does not answer")
    if stream.cause is GapCause.CONNECTING:
        return RecordingState.IDLE, ""
    return RecordingState.ERROR, CAUSE_TEXT.get(stream.cause, stream.cause.name.replace("_", " ").capitalize())


def track_state(outlet: Outlet, lane: Lane | None, bound_ns: int, now_ns: int) -> Shown:
    """Of one track whose receiver has a session; `bound_ns` is how old its newest durable media may be."""
    if outlet.error:
        return RecordingState.ERROR, outlet.error
    if outlet.absent or lane is None:
        return RecordingState.IDLE, ""
    track = lane.by_track.get(outlet.track.id)
    if track is None:
        return RecordingState.IDLE, ""
    if lane.unstorable:
        return RecordingState.ERROR, lane.unstorable
    if lane.blocked is not None:
        return RecordingState.ERROR, CAUSE_TEXT.get(lane.blocked.cause, lane.blocked.detail)
    if lane.lost_cause is not None:
        return RecordingState.ERROR, CAUSE_TEXT.get(lane.lost_cause, "Data was lost")
    return _reached_disk(track, bound_ns, now_ns)


def _reached_disk(track: LaneTrack, bound_ns: int, now_ns: int) -> Shown:
    if track.waiting_ns and now_ns - track.waiting_ns > bound_ns:
        return RecordingState.ERROR, "Data does not reach the disk"
    if not track.durable_ns:
        return RecordingState.IDLE, ""
    sparse = track.format.kind is MediaKind.METADATA  # comes when there is something to say
    if sparse or now_ns - track.durable_ns <= bound_ns:
        return RecordingState.ACTIVE, ""
    return RecordingState.ERROR, "Camera sends no data for this track"


def outlet_states(
    run: Run, streams: Mapping[uuid.UUID, Stream], mode: Callable[[str], ReceiverMode], tick_ns: int, now_ns: int
) -> dict[int, Shown]:
    """Of every outlet of a run, by its index."""
    shown: dict[int, Shown] = {}
    bounds = {receiver: lane.loss_bound_ns(tick_ns) + 2 * tick_ns for receiver, lane in run.lanes.items()}
    for index, outlet in enumerate(run.outlets):
        stream = streams.get(outlet.receiver)
        if run.hindrance is not None:
            shown[index] = (RecordingState.ERROR, CAUSE_TEXT.get(run.hindrance.cause, run.hindrance.detail))
        elif stream is None:
            shown[index] = (RecordingState.IDLE, "")
        else:
            without = session_state(stream, mode(stream.token), run, now_ns)
            lane = run.lanes.get(outlet.receiver)
            shown[index] = without or track_state(outlet, lane, bounds.get(outlet.receiver, 0), now_ns)
    return shown


def job_state(job: RecordingJob, run: Run | None, shown: Mapping[int, Shown]) -> JobState:
    """The whole structure of 5.19; a route that the job has not won is idle."""
    outlets = run.outlets if run is not None else ()
    won = {(o.route.source, o.route.destination): shown[i] for i, o in enumerate(outlets) if i in shown}
    sources = []
    for index, source in enumerate(job.configuration.sources):
        tracks = []
        for track in source.tracks:
            state, error = won.get((index, track.destination), (RecordingState.IDLE, ""))
            tracks.append(
                JobTrackState(source_tag=track.source_tag, destination=track.destination, state=state, error=error)
            )
        state = aggregate(t.state for t in tracks)
        sources.append(JobSourceState(token=source.token, type=source.type, state=state, tracks=tuple(tracks)))
    return JobState(
        recording=job.configuration.recording, state=aggregate(s.state for s in sources), sources=tuple(sources)
    )
