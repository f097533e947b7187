"""One row for each stream that is recorded or should be: what `status` shows, read from the services as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

from recorderd.ingest.service import Ingest
from recorderd.ingest.stream import StreamStatus
from recorderd.model.causes import GapCause
from recorderd.model.device import Device
from recorderd.model.objects import Objects
from recorderd.model.ports import Clock
from recorderd.model.receiver import Receiver
from recorderd.model.recording import Recording
from recorderd.model.stream import MediaKind
from recorderd.protocol import system
from recorderd.protocol.wall import to_rfc3339
from recorderd.recording.engine import Engine
from recorderd.recording.lane import Lane, LaneTrack
from recorderd.recording.runtime import JobRuntime
from recorderd.recording.states import CAUSE_TEXT
from recorderd.ring.ledger.queries import Queries

HOUR_NS = 3_600_000_000_000
TICKS_OF_GRACE = 2
FIRST_PICTURE_NS = 15_000_000_000  # from the answer to PLAY to the first durable picture: a GOP, and the loss bound


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one receiver now. `feeds` are the jobs that record from it or would."""

    receiver: Receiver
    device: Device | None
    feeds: tuple[JobRuntime, ...]
    stream: StreamStatus | None
    lane: Lane | None
    track: LaneTrack | None  # the one that is looked at: video where there is video
    due: bool

    @property
    def name(self) -> str:
        return self.device.id if self.device is not None else self.receiver.token


class Condition(NamedTuple):
    """What of a row says how the camera is doing."""

    due: bool
    state: system.CameraState
    detail: str


class Cameras:
    def __init__(
        self, *, objects: Objects, engine: Engine, ingest: Ingest, queries: Queries, clock: Clock, tick_ns: int
    ) -> None:
        self._receivers = cast("dict[str, Receiver]", objects.tables["receiver"])
        self._devices = cast("dict[str, Device]", objects.tables["device"])
        self._recordings = cast("dict[str, Recording]", objects.tables["recording"])
        self._jobs = objects.tables["job"]
        self._engine = engine
        self._ingest = ingest
        self._queries = queries
        self._clock = clock
        self._tick_ns = tick_ns

    def alarms(self) -> list[tuple[str, str]]:
        """(camera, what is wrong with its stream although it is fetched)."""
        return [
            (seen.name, f"{alarm}: {detail}")
            for seen in self.seen()
            for alarm, detail in self._ingest.alarms(seen.receiver.id)
        ]

    def rows(self) -> list[system.Camera]:
        return [self.row(seen) for seen in self.seen()]

    def conditions(self) -> list[Condition]:
        """The same of `rows`, without what the ledger would have to be asked for: cheap enough for every other second."""
        return [self._condition(seen) for seen in self.seen()]

    def _condition(self, seen: Seen) -> Condition:
        state = self.state(seen)
        return Condition(seen.due, state, self.trouble(seen)[1] if state in ("connecting", "failing") else "")

    def required_ms(self) -> int | None:
        """How far back the disk has to reach: the longest minimum that a recording asks for; None where none does."""
        return max((r.configuration.minimum_retention_ms for r in self._recordings.values()), default=0) or None

    def seen(self) -> list[Seen]:
        streams = self._ingest.statuses()
        feeds: dict[str, list[JobRuntime]] = {}
        for token in self._jobs:
            runtime = self._engine.runtime(token)
            if runtime is not None:
                for source in runtime.job.configuration.sources:
                    feeds.setdefault(source.token, []).append(runtime)
        return [
            self._see(receiver, tuple(feeds.get(receiver.token, ())), streams.get(receiver.id))
            for receiver in self._receivers.values()
        ]

    def _see(self, receiver: Receiver, feeds: tuple[JobRuntime, ...], stream: StreamStatus | None) -> Seen:
        device = self._engine.sources.device(receiver)
        lanes = [r.run.lanes[receiver.id] for r in feeds if r.run is not None and receiver.id in r.run.lanes]
        lane = lanes[0] if lanes else None
        track = None
        if lane is not None:
            track = next((t for t in lane.tracks if t.format.kind is MediaKind.VIDEO), lane.tracks[0])
        due = any(r.run is not None and receiver.id in r.run.receivers for r in feeds)
        return Seen(receiver, device, feeds, stream, lane, track, due)

    def row(self, seen: Seen) -> system.Camera:
        recording = self._recording(seen)
        now_ns = self._clock.boottime_ns()
        form = seen.track.format if seen.track is not None else None
        cause, detail, since_ns = self.trouble(seen)
        hour, day = self._coverage(recording)
        return system.Camera(
            device=seen.device.id if seen.device is not None else "",
            name=seen.name,
            recording=recording.token if recording is not None else "",
            due=seen.due,
            state=self.state(seen),
            cause=cause.name.lower().replace("_", "-") if cause is not None else None,
            detail=detail,
            since=self.wall(since_ns) if since_ns else None,
            durable_age_ms=self._durable_age_ms(seen, recording, now_ns),
            codec=form.codec.value if form is not None else "",
            width=form.width if form is not None else 0,
            height=form.height if form is not None else 0,
            frame_rate=1e9 / seen.track.interval_ns if seen.track is not None and seen.track.interval_ns else 0.0,
            asked_frame_rate=_asked_frame_rate(seen.receiver),
            bit_rate=seen.lane.rate_bps if seen.lane is not None else 0,
            coverage_hour=hour,
            coverage_day=day,
            loss_bound_ms=seen.lane.loss_bound_ns(self._tick_ns) // 1_000_000 if seen.lane is not None else None,
            prebuffer_ms=self._prebuffer_ms(seen.receiver),
            lost_packets=self._ingest.lost_packets(seen.receiver.id),
            port=seen.device.poe_port or None if seen.device is not None else None,
        )

    def state(self, seen: Seen) -> system.CameraState:
        """`recording` is said only while media reaches the disk within the stated loss bound and two ticks."""
        if not seen.due:
            return "waiting" if seen.stream is not None and seen.stream.cause is None else "idle"
        if self.reaches_disk(seen):
            return "recording"
        stream = seen.stream
        if stream is None or stream.cause is GapCause.CONNECTING:
            return "connecting"
        blocked = seen.lane is not None and seen.lane.blocked is not None
        first = seen.track is None or not seen.track.durable_ns
        young = self._clock.boottime_ns() - stream.since_ns < FIRST_PICTURE_NS
        return "connecting" if stream.cause is None and first and young and not blocked else "failing"

    def reaches_disk(self, seen: Seen) -> bool:
        if seen.lane is None or seen.track is None or not seen.track.durable_ns:
            return False
        age_ns = self._clock.boottime_ns() - seen.track.durable_ns
        return seen.lane.within_loss_bound(age_ns - TICKS_OF_GRACE * self._tick_ns, self._tick_ns)

    def trouble(self, seen: Seen) -> tuple[GapCause | None, str, int]:
        """Why a stream that is due is not recorded: cause, words, since when (boot time; 0 not known)."""
        if not seen.due or self.reaches_disk(seen):
            return None, "", 0
        for runtime in seen.feeds:
            run = runtime.run
            if run is None:
                continue
            if run.hindrance is not None:
                return run.hindrance.cause, run.hindrance.detail, run.started_ns
            errors = [outlet.error for outlet in run.outlets_of(seen.receiver.id) if outlet.error]
            if errors:
                return GapCause.INCOMPATIBLE_STREAM, errors[0], run.started_ns
        if seen.lane is not None and seen.lane.blocked is not None:
            return seen.lane.blocked.cause, seen.lane.blocked.detail, 0
        if seen.stream is None:
            return GapCause.CONFIGURATION, "the stream is not being fetched", 0
        cause = seen.stream.cause
        if cause is None:
            return (seen.lane.lost_cause if seen.lane is not None else None), "", 0
        return cause, seen.stream.detail or CAUSE_TEXT.get(cause, ""), seen.stream.since_ns

    def wall(self, boottime_ns: int) -> str:
        """Wall time of a moment of this boot, as the clock stands now."""
        return to_rfc3339(self._clock.realtime_ns() - self._clock.boottime_ns() + boottime_ns)

    def _recording(self, seen: Seen) -> Recording | None:
        if not seen.feeds:
            return None
        best = max(seen.feeds, key=lambda runtime: (runtime.run is not None, runtime.job.configuration.priority))
        return self._recordings.get(best.job.configuration.recording)

    def _durable_age_ms(self, seen: Seen, recording: Recording | None, now_ns: int) -> int | None:
        if seen.track is not None and seen.track.durable_ns:
            return max(0, now_ns - seen.track.durable_ns) // 1_000_000
        newest_ns = self._queries.newest_ns(recording.id) if recording is not None else None
        return max(0, self._clock.realtime_ns() - newest_ns) // 1_000_000 if newest_ns is not None else None

    def _coverage(self, recording: Recording | None) -> tuple[float | None, float | None]:
        if recording is None or self._queries.newest_ns(recording.id) is None:
            return None, None
        hour, day = (self._queries.coverage(recording.id, None, span) for span in (HOUR_NS, 24 * HOUR_NS))
        return (
            hour.recorded_ns / hour.due_ns if hour.due_ns else None,
            day.recorded_ns / day.due_ns if day.due_ns else None,
        )

    def _prebuffer_ms(self, receiver: Receiver) -> int:
        view = self._ingest.prebuffer(receiver.id)
        return round(view.held_s() * 1000) if view is not None else 0


def _asked_frame_rate(receiver: Receiver) -> float | None:
    for option in receiver.configuration.options:
        if option.name == "fps":
            try:
                return float(option.value)
            except ValueError:
                return None
    return None
