"""The recorder proper: runs and their lanes, fed by ingest's streams (`ports.StreamSink`) and by the ring's tick.

It is told which job records which tracks (`begin`, `stop`) and decides nothing about that. Everything happens on the loop.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence

from recorderd.model.causes import GapCause, RunKind
from recorderd.model.ports import Clock, MediaStore, StoreUnavailable, StreamSession, StreamSource
from recorderd.model.recording import Recording
from recorderd.model.stream import AccessUnit, SenderReport, TrackFormat
from recorderd.model.timeline import RunCause
from recorderd.recording.budget import relieve
from recorderd.recording.intake import Stream
from recorderd.recording.lane import Lane, Tail
from recorderd.recording.publisher import Publisher
from recorderd.recording.runs import Outlet, Run, RunKey, backlog, earliest, match, not_stored, open_lane, recalled
from recorderd.recording.runtime import Counters, JobRuntime
from recorderd.recording.sources import Sources

log = logging.getLogger(__name__)

Recalled = tuple[Stream, dict[int, Outlet], list[AccessUnit], GapCause]  # of a session that has ended, and why it did


class Recorder:
    """`note_encoding(recording, track, codec)` is called for the first data of a track; `picture_stored(runtime)` when a run that had
    to store a key frame before it may end has done so; `metadata(receiver, document, arrival_ns)` for every metadata document."""

    def __init__(
        self,
        *,
        store: MediaStore,
        source: StreamSource,
        clock: Clock,
        sources: Sources,
        publisher: Publisher,
        counters: Counters,
        media_ram_bytes: int,
        runs_of: Callable[[str], Sequence[JobRuntime]],
        source_name: Callable[[Run], str],
        note_encoding: Callable[[str, str, str], None],
        picture_stored: Callable[[JobRuntime], None],
        metadata: Callable[[uuid.UUID, bytes, int], None],
        camera_lost: Callable[[uuid.UUID], None],
    ) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._sources = sources
        self._publisher = publisher
        self._counters = counters
        self._media_ram_bytes = media_ram_bytes
        self._runs_of = runs_of
        self._source_name = source_name
        self._note_encoding = note_encoding
        self._picture_stored = picture_stored
        self._metadata = metadata
        self._camera_lost = camera_lost
        self._tails: dict[uuid.UUID, Tail] = {}
        self._lanes: dict[int, Lane] = {}  # by id(): open lanes
        self._fed: dict[uuid.UUID, list[tuple[JobRuntime, Lane]]] = {}  # the same, by the receiver that feeds them
        self._closing: list[Lane] = []
        self._blocked: dict[str, JobRuntime] = {}

    # --- runs ----------------------------------------------------------------------------------------------

    def begin(self, runtime: JobRuntime, recording: Recording, key: RunKey, cause: RunCause) -> None:
        now_ns = self._clock.boottime_ns()
        outlets = [
            Outlet(route, track, key.receivers[route.source])
            for route in key.routes
            if (track := recording.track(route.destination)) is not None
        ]
        runtime.run = Run(0, runtime.job, recording, key, cause, now_ns, tuple(outlets))
        self._open(runtime, runtime.run, now_ns)

    def _open(self, runtime: JobRuntime, run: Run, now_ns: int) -> None:
        """Opens the run in the ring, and a lane for every receiver that has a session; tried again at ticks while the ring refuses."""
        event = run.cause.kind is RunKind.EVENT
        from_ns = now_ns
        if runtime.condition is not None and event:
            from_ns = min(now_ns, max(runtime.condition.from_ns, runtime.since_ns))
        past: list[Recalled] = []
        ready = []
        for receiver in sorted(run.receivers):
            stream = self._sources.by_id.get(receiver)
            if stream is None:
                continue
            past += self._recalled(run, stream, from_ns)
            if stream.session is None:
                continue
            matched = match(stream, run.outlets_of(receiver))
            if matched:
                wanted = {i: o.track.id for i, o in matched.items()}
                first = backlog(stream, self._source.prebuffer(receiver), from_ns, self._tails, wanted)
                ready.append((stream, matched, first))
        started_ns = earliest([first for _, _, first, _ in past] + [first for _, _, first in ready], now_ns)
        try:
            tracks = [o.track.id for o in run.outlets]
            run.id = self._store.start_run(
                run.recording.id, run.job.id, self._source_name(run), run.cause, tracks, started_ns
            )
        except StoreUnavailable as error:
            run.hindrance = error
            self._blocked[runtime.job.token] = runtime
            return
        run.hindrance = None
        run.started_ns = now_ns
        self._blocked.pop(runtime.job.token, None)
        self._counters.runs_started += 1
        for stream, matched, first, ended in past:
            self._open_lane(runtime, run, stream, matched, first, urgent=event)
            lane = run.lanes.pop(stream.receiver)
            self._close_lane(lane)
            tracks = [outlet.track.id for outlet in matched.values()]
            if lane.blocked is not None:
                at = first[0].arrival_ns, first[-1].arrival_ns
                self._store.note_gap(run.recording.id, tracks, lane.blocked.cause, *at)
            self._store.note_gap(run.recording.id, tracks, ended, first[-1].arrival_ns, None)
        for stream, matched, first in ready:
            self._open_lane(runtime, run, stream, matched, first, urgent=event)
        for receiver in sorted(run.receivers):
            stream = self._sources.by_id.get(receiver)
            if stream is None or stream.session is None:
                cause = stream.cause if stream is not None and stream.cause is not None else GapCause.CONNECTING
                self._note_gap(run, receiver, cause, now_ns)

    def _recalled(self, run: Run, stream: Stream, from_ns: int) -> list[Recalled]:
        """What the pre-buffer holds of earlier sessions and the tracks do not."""
        found: list[Recalled] = []
        view = self._source.prebuffer(stream.receiver)
        if view is None:
            return found
        outlets = run.outlets_of(stream.receiver)
        for held in view.earlier(from_ns):
            past = recalled(held, stream.token)
            matched = match(past, outlets)
            first = not_stored(held, self._tails, {i: outlet.track.id for i, outlet in matched.items()})
            if first:
                found.append((past, matched, first, held.ended))
        for outlet in outlets:  # what hinders the present session is for that to say
            outlet.error, outlet.absent = "", False
        return found

    def hurry(self, runtime: JobRuntime) -> None:
        """An event of a run that is under way: what led up to it is committed with the next tick, however little it is."""
        if runtime.run is not None:
            for lane in runtime.run.lanes.values():
                lane.hurry(self._clock.boottime_ns())

    def stop(self, runtime: JobRuntime) -> None:
        run = runtime.run
        if run is None:
            return
        for lane in run.lanes.values():
            self._close_lane(lane)
        runtime.run = None
        self._blocked.pop(runtime.job.token, None)
        for outlet in run.outlets:
            self._publisher.data_present(run, outlet, False)
        if run.id:
            self._store.stop_run(run.id, self._clock.boottime_ns())
            self._counters.runs_stopped += 1

    def _open_lane(
        self,
        runtime: JobRuntime,
        run: Run,
        stream: Stream,
        matched: Mapping[int, Outlet],
        first: Sequence[AccessUnit],
        *,
        urgent: bool,
    ) -> None:
        lane = open_lane(
            self._store,
            run,
            stream,
            matched,
            source_name=self._source_name(run),
            first=first,
            tails=self._tails,
            urgent=urgent,
        )
        lane.on_durable = lambda _: self._publisher.refresh(runtime)
        run.lanes[stream.receiver] = lane
        self._lanes[id(lane)] = lane
        self._fed.setdefault(stream.receiver, []).append((runtime, lane))
        run.gaps.pop(stream.receiver, None)
        for index, outlet in matched.items():
            self._publisher.parameters(run, outlet, stream.formats[index])
            if not outlet.track.encoding:
                self._note_encoding(run.recording.token, outlet.track.token, stream.formats[index].codec.value)
        if first:
            self._tails.update(lane.tails())
            if urgent:
                lane.hurry(self._clock.boottime_ns())

    def _close_lane(self, lane: Lane) -> None:
        lane.close()
        if self._lanes.pop(id(lane), None) is not None:
            fed = self._fed[lane.spec.receiver]
            fed[:] = [(runtime, other) for runtime, other in fed if other is not lane]
        self._tails.update(lane.tails())
        if lane.waits:
            self._closing.append(lane)

    def _note_gap(self, run: Run, receiver: uuid.UUID, cause: GapCause, from_ns: int) -> None:
        if run.id and run.gaps.get(receiver) != cause:
            run.gaps[receiver] = cause
            self._store.note_gap(run.recording.id, run.tracks_of(receiver), cause, from_ns, None)

    def _running(self, receiver: uuid.UUID) -> list[tuple[JobRuntime, Run]]:
        stream = self._sources.by_id.get(receiver)
        if stream is None:
            return []
        return [(r, r.run) for r in self._runs_of(stream.token) if r.run is not None and receiver in r.run.receivers]

    # --- ports.StreamSink ----------------------------------------------------------------------------------

    def session_opened(self, session: StreamSession) -> None:
        stream = self._sources.by_id.get(session.receiver)
        if stream is None:
            return
        stream.open(session)
        self._publisher.receiver_changed(session.receiver)
        for runtime, run in self._running(session.receiver):
            self._join(runtime, run, stream)
            self._publisher.refresh(runtime)

    def _join(self, runtime: JobRuntime, run: Run, stream: Stream) -> None:
        """A running run gets the new session's tracks."""
        matched = match(stream, run.outlets_of(stream.receiver))
        if run.id and matched:
            urgent = run.cause.kind is RunKind.EVENT and not run.lanes
            self._open_lane(runtime, run, stream, matched, (), urgent=urgent)
        if run.id:
            refused = [o.track.id for o in run.outlets_of(stream.receiver) if o.error]
            if refused:
                self._store.note_gap(
                    run.recording.id, refused, GapCause.INCOMPATIBLE_STREAM, self._clock.boottime_ns(), None
                )
            absent = [o.track.id for o in run.outlets_of(stream.receiver) if o.absent]
            if absent:  # nothing is missing from a track that the camera does not have
                now_ns = self._clock.boottime_ns()
                self._store.note_gap(run.recording.id, absent, GapCause.CONNECTING, now_ns, now_ns)

    def format_changed(self, session: StreamSession, track: int, new: TrackFormat) -> None:
        stream = self._current(session)
        if stream is None:
            return
        changed_codec = stream.formats[track].codec is not new.codec
        stream.set_format(track, new)
        for runtime, run in self._running(session.receiver):
            lane = run.lanes.get(session.receiver)
            if lane is None:
                continue
            if changed_codec:
                self._close_lane(lane)
                del run.lanes[session.receiver]
                self._join(runtime, run, stream)
                self._publisher.refresh(runtime)
            else:
                lane.set_format(track, new)
                for outlet in run.outlets:
                    if any(t.stream_track == track and t.track == outlet.track.id for t in lane.tracks):
                        self._publisher.parameters(run, outlet, new)

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        stream = self._current(session)
        if stream is None or not units:
            return
        settled, hurried = [], []
        for runtime, lane in self._fed.get(session.receiver, ()):
            had_key = lane.has_key
            lane.take(units)
            if lane.urgent and lane.has_key:
                lane.hurry(self._clock.boottime_ns())
                hurried.append(runtime)
            if lane.has_key and not had_key:
                settled.append(runtime)
        if stream.metadata:
            for unit in units:
                if unit.track in stream.metadata:
                    self._metadata(session.receiver, unit.data, unit.arrival_ns)
        for runtime in settled:
            self._picture_stored(runtime)
        for runtime in hurried:  # the ring may have refused it
            self._publisher.refresh(runtime)

    def sender_report(self, session: StreamSession, track: int, report: SenderReport) -> None:
        stream = self._current(session)
        if stream is not None:
            stream.reports[track] = report

    def interrupted(
        self, session: StreamSession, tracks: Sequence[int], cause: GapCause, from_ns: int, to_ns: int, detail: str
    ) -> None:
        stream = self._current(session)
        if stream is None:
            return
        log.info("%s: nothing for %.1f s: %s", stream.token, (to_ns - from_ns) / 1e9, detail)
        for _, run in self._running(session.receiver):
            lane = run.lanes.get(session.receiver)
            if lane is not None and run.id:
                lost = [t.track for t in lane.tracks if t.stream_track in tracks]
                if lost:
                    self._store.note_gap(run.recording.id, lost, cause, max(from_ns, run.started_ns), to_ns)

    def session_closed(self, session: StreamSession, cause: GapCause, detail: str) -> None:
        stream = self._current(session)
        if stream is None:
            return
        now_ns = self._clock.boottime_ns()
        last_ns = max(map(session.times.last_ns, range(len(session.formats))), default=0) or now_ns
        running = self._running(session.receiver)
        for _, run in running:
            lane = run.lanes.pop(session.receiver, None)
            if lane is not None:
                self._close_lane(lane)
        stream.close(cause, detail)
        for runtime, run in running:
            self._note_gap(run, session.receiver, cause, max(last_ns, run.started_ns))
            self._publisher.refresh(runtime)
        self._publisher.receiver_changed(session.receiver)
        self._camera_lost(session.receiver)

    def no_session(self, receiver: uuid.UUID, cause: GapCause, detail: str, retry_in_s: float) -> None:
        stream = self._sources.by_id.get(receiver)
        if stream is None or stream.session is not None:
            return
        now_ns = self._clock.boottime_ns()
        stream.cause, stream.detail = cause, detail
        stream.retry_ns = now_ns + round(retry_in_s * 1e9)
        for runtime, run in self._running(receiver):
            self._note_gap(run, receiver, cause, now_ns)
            self._publisher.refresh(runtime)
        self._publisher.connection_failed(receiver)

    def _current(self, session: StreamSession) -> Stream | None:
        stream = self._sources.by_id.get(session.receiver)
        return stream if stream is not None and stream.session is session else None

    # --- the tick ------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """At the start of every commit tick: what is due is appended; what the ring refuses stays within its memory."""
        for runtime in list(self._blocked.values()):
            if runtime.run is not None:
                self._open(runtime, runtime.run, now_ns)
        for lane in self._lanes.values():
            lane.feed(now_ns)
        self._closing = [lane for lane in self._closing if lane.waits]
        suffered = relieve(self._lanes.values(), self._media_ram_bytes)
        for lane in suffered:
            self._counters.overflows += 1
            log.error("%s: media memory is full, data was dropped (%s)", lane.spec.source, lane.lost_cause)

    def lanes(self) -> Sequence[Lane]:
        return list(self._lanes.values())
