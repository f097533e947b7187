"""One writer's feed: access units of one receiver, for one run, into fragments and into the ring (format.md sections 4, 9, 11).

A lane exists while a run wants tracks of a receiver and the receiver's session has them. It decides nothing about who records: the engine
opens and closes it. It holds what has not been appended, counts what has been appended and is not yet durable, and says per track when
the newest media reached the disk.

Once a lane is under way, what a sweep brings is only laid aside. A tick, or whoever wants to know, works it off, a second of the stream at
once: that costs a quarter of what it costs sweep by sweep.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from recorderd.media.fragmenter import MAX_AGE_NS, MIN_BYTES, Cut, Fragmenter
from recorderd.model.causes import GapCause
from recorderd.model.ports import Anchor, MediaStore, StoreUnavailable, Writer, WriterSpec
from recorderd.model.stream import AccessUnit, MediaKind, SenderReport, TrackFormat

_RATE_WINDOW_NS = 8_000_000_000
_FLUSH_NS = 500_000_000  # allowed for one flush in the stated loss bound


@dataclass(slots=True)
class Tail:
    """The end of what a track holds: which session's unit was stored last. Lets the next run go on exactly behind it."""

    receiver: uuid.UUID
    session: int
    stream_track: int
    arrival_ns: int


@dataclass(slots=True)
class LaneTrack:
    """One track of the lane and how far it has come. Times are arrivals, CLOCK_BOOTTIME; 0 means not yet."""

    track: uuid.UUID
    token: str
    stream_track: int  # index in the session's formats
    format: TrackFormat  # in force now
    received_ns: int = 0
    durable_ns: int = 0
    waiting_ns: int = 0  # the oldest unit that is not durable
    interval_ns: int = 0  # between units, smoothed: part of the hold-back

    def arrived(self, from_ns: int, to_ns: int, count: int) -> None:
        """`count` units, the first and the last of which arrived then."""
        if before_ns := self.received_ns:
            step = (to_ns - before_ns) // count
            before = self.interval_ns
            self.interval_ns = before + (step - before) * min(count, 8) // 8 if before else step
        self.received_ns = to_ns
        if not self.waiting_ns:
            self.waiting_ns = from_ns


@dataclass(slots=True)
class _Sent:
    """A fragment that was appended and is not yet durable."""

    arrived_to_ns: int
    size: int


log = logging.getLogger(__name__)


class SessionClock(Protocol):
    """What a session knows about when its media happened. Implemented by `intake.Stream`."""

    def anchor_time(self, stream_track: int, pts: int, arrival_ns: int) -> int:
        """Boot time of a media time, by the minimum-delay estimate."""

    def report(self, stream_track: int) -> SenderReport | None: ...


@dataclass(slots=True)
class LaneCounters:
    units: int = 0
    bytes: int = 0
    fragments: int = 0
    dropped_units: int = 0
    dropped_bytes: int = 0


@dataclass(slots=True)
class Lane:
    """Feeds one writer. `priority` is the job's; `urgent` asks for the first data to be committed at once (event recordings)."""

    store: MediaStore
    spec: WriterSpec
    run: int
    session: int
    tracks: tuple[LaneTrack, ...]
    clock: SessionClock
    urgent: bool = False
    mid_gop: bool = False  # what comes next continues what the tracks already hold
    on_durable: Callable[[Lane], None] | None = None
    counters: LaneCounters = field(default_factory=LaneCounters)
    blocked: StoreUnavailable | None = None  # why the ring takes nothing now
    lost_cause: GapCause | None = None
    unstorable: str = ""  # why the ring will never take it
    _fragmenter: Fragmenter = field(init=False)
    _writer: Writer | None = None
    _backlog: deque[Cut] = field(default_factory=deque)
    _sent: deque[_Sent] = field(default_factory=deque)
    by_track: dict[uuid.UUID, LaneTrack] = field(init=False)
    _by_stream: dict[int, tuple[int, LaneTrack, bool]] = field(init=False)  # index here, the track, whether it is video
    _fresh: list[Sequence[AccessUnit]] = field(default_factory=list)  # what sweeps brought and nobody has looked at
    _skip_until_key: bool = field(init=False)
    _hurried: bool = False  # the next tick takes what there is
    _broken: bool = False  # data was given up and no key frame has come since
    _sizes: deque[tuple[int, int]] = field(default_factory=deque)  # (arrival, bytes) of the rate window
    _window_bytes: int = 0
    _began_ns: dict[int, int] = field(default_factory=dict)  # by track: when the first unit appended was captured
    has_key: bool = False  # a random access point of every video track went in
    closed: bool = False

    def __post_init__(self) -> None:
        self._fragmenter = Fragmenter([t.format for t in self.tracks], [t.stream_track for t in self.tracks])
        self.by_track = {t.track: t for t in self.tracks}
        self._by_stream = {t.stream_track: (i, t, t.format.kind is MediaKind.VIDEO) for i, t in enumerate(self.tracks)}
        has_video = any(video for _, _, video in self._by_stream.values())
        self._skip_until_key = has_video and not self.mid_gop
        self.has_key = not has_video

    # --- in ------------------------------------------------------------------------------------------------

    def take(self, units: Sequence[AccessUnit]) -> None:
        """Units of the session in decoding order; those of other tracks are passed over. Nothing goes in before a key frame."""
        if self._under_way and units and units[0].arrival_ns == units[-1].arrival_ns:
            self._fresh.append(units)
            return
        self._work_off()
        for unit in units:
            place = self._by_stream.get(unit.track)
            if place is None:
                continue
            if self.unstorable:
                self._count_dropped(unit)
                continue
            _, track, video = place
            if self._skip_until_key:
                if not (video and unit.key):
                    self._count_dropped(unit)
                    continue
                self._skip_until_key = False
            self._broken = False
            if video and unit.key:
                self.has_key = True
            self._fragmenter.push(unit)
            self._arrived(track, unit)

    @property
    def _under_way(self) -> bool:
        """Whether nothing is special about what comes next."""
        return self.has_key and not (self._skip_until_key or self._broken or self.unstorable)

    def _work_off(self) -> None:
        """Brings in what was laid aside; each of its parts arrived at one instant."""
        if not self._fresh:
            return
        fresh, self._fresh = self._fresh, []
        by_stream = self._by_stream
        found: list[AccessUnit] = []
        total = 0
        for units in fresh:
            own = [unit for unit in units if unit.track in by_stream]
            if own:
                size = sum([len(unit.data) for unit in own])
                self._grew(own[0].arrival_ns, size)
                total += size
                found += own
        for track in self.tracks:
            arrivals = [unit.arrival_ns for unit in found if unit.track == track.stream_track]
            if arrivals:
                track.arrived(arrivals[0], arrivals[-1], len(arrivals))
        self.counters.units += len(found)
        self._fragmenter.push_all(found, total)

    def _arrived(self, track: LaneTrack, unit: AccessUnit) -> None:
        track.arrived(unit.arrival_ns, unit.arrival_ns, 1)
        self.counters.units += 1
        self._grew(unit.arrival_ns, len(unit.data))

    def _grew(self, now_ns: int, size: int) -> None:
        sizes = self._sizes
        self.counters.bytes += size
        sizes.append((now_ns, size))
        self._window_bytes += size
        oldest_ns = now_ns - _RATE_WINDOW_NS
        while sizes[0][0] < oldest_ns:
            self._window_bytes -= sizes.popleft()[1]

    def set_format(self, stream_track: int, new: TrackFormat) -> None:
        self._work_off()
        place = self._by_stream.get(stream_track)
        if place is not None:
            index, track, _ = place  # of the same kind as before: another codec gets another lane
            self._fragmenter.set_format(index, new)
            track.format = new

    # --- out -----------------------------------------------------------------------------------------------

    def feed(self, now_ns: int) -> None:
        """At a commit tick: appends what is due, and what was refused before."""
        self._work_off()
        while self._append_backlog() and (self._hurried or self._fragmenter.due(now_ns)):
            cut = self._fragmenter.take(now_ns)
            if cut is None:
                return
            self._hurried = False
            self._backlog.append(cut)

    def hurry(self, now_ns: int) -> None:
        """Appends everything that need not be held back, to be committed at once if this is the run's first data.

        What is held back, because its duration needs its successor, goes with the next tick that has that, however little it is.
        """
        self._work_off()
        self._hurried = True
        while self._append_backlog() and (cut := self._fragmenter.take(now_ns)) is not None:
            self._backlog.append(cut)

    def flush(self) -> None:
        """Appends everything, held-back units too: the session or the run ends."""
        self._work_off()
        while (cut := self._fragmenter.flush()) is not None:
            self._backlog.append(cut)
        self._append_backlog()

    def close(self) -> None:
        """The last data goes out; what the ring still refuses is lost."""
        if self.closed:
            return
        self.flush()
        self.closed = True
        for cut in self._backlog:
            self._give_up(cut)
        self._backlog.clear()
        if self._writer is not None:
            self._writer.close()

    def _append_backlog(self) -> bool:
        """Whether the way is free."""
        while self._backlog:
            cut = self._backlog[0]
            try:
                if self._writer is None:
                    self._writer = self.store.open_writer(self.spec, self)
                self._writer.append(
                    cut.fragment,
                    self.run,
                    self._anchors(cut),
                    cut.arrived_from_ns,
                    cut.arrived_to_ns,
                    urgent=self.urgent,
                )
            except StoreUnavailable as error:
                self.blocked = error
                return False
            except ValueError as error:
                self._refuse(str(error))
                return False
            self.blocked = None
            self.urgent = False
            self._backlog.popleft()
            self.counters.fragments += 1
            self._sent.append(_Sent(cut.arrived_to_ns, cut.fragment.size))
        return True

    def _refuse(self, reason: str) -> None:
        """The ring can never take this stream (a format that no slot holds): said once, and nothing is kept for it."""
        if not self.unstorable:
            log.error("%s into %s: %s", self.spec.source, self.spec.recording_name, reason)
        self.unstorable = reason
        while (cut := self._fragmenter.flush()) is not None:
            self._backlog.append(cut)
        for cut in self._backlog:
            self._give_up(cut)
        self._backlog.clear()

    def _anchors(self, cut: Cut) -> tuple[Anchor, ...]:
        anchors = []
        for first in cut.firsts:
            stream_track = self.tracks[first.track].stream_track
            at_ns = self.clock.anchor_time(stream_track, first.pts, first.arrival_ns)
            # The estimate gets better in a session's first seconds. What it moves back must not come to lie before the lane's
            # own beginning: readers take that for another run's, and leave it out.
            at_ns = max(at_ns, self._began_ns.setdefault(first.track, at_ns))
            anchors.append(Anchor(first.track, first.pts, at_ns, self.session, self.clock.report(stream_track)))
        return tuple(anchors)

    # --- what became of it ---------------------------------------------------------------------------------

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:  # noqa: ARG002
        """`ports.DurableSink`."""
        self._work_off()
        while self._sent and self._sent[0].arrived_to_ns <= through_ns:
            self._sent.popleft()
        for track in self.tracks:
            if track.waiting_ns and track.waiting_ns <= through_ns:
                track.durable_ns = min(track.received_ns, through_ns)
                track.waiting_ns = 0 if track.received_ns <= through_ns else through_ns + 1
        self.lost_cause = None
        if self.on_durable is not None:
            self.on_durable(self)

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:  # noqa: ARG002
        """`ports.DurableSink`: the ring has ledgered the loss; here it only shows in the state."""
        self._sent = deque(sent for sent in self._sent if sent.arrived_to_ns > to_ns)
        self.lost_cause = cause
        if self.on_durable is not None:
            self.on_durable(self)

    @property
    def unacknowledged_bytes(self) -> int:
        return sum(sent.size for sent in self._sent)

    @property
    def held_bytes(self) -> int:
        """Everything of this lane in RAM: pending, refused, appended and not yet durable."""
        self._work_off()
        return (
            self._fragmenter.pending_bytes + sum(cut.fragment.size for cut in self._backlog) + self.unacknowledged_bytes
        )

    @property
    def waits(self) -> bool:
        """Whether appended data waits for its commit: such a lane is kept after `close` until it hears."""
        return bool(self._sent)

    def tails(self) -> dict[uuid.UUID, Tail]:
        """Where the tracks end, for the next run into them; nothing when the end was given up."""
        self._work_off()
        if self._broken:
            return {}
        return {
            t.track: Tail(self.spec.receiver, self.session, t.stream_track, t.received_ns)
            for t in self.tracks
            if t.received_ns
        }

    @property
    def rate_bps(self) -> int:
        """Bits per second over the rate window; 0 before two units have come."""
        self._work_off()
        if len(self._sizes) < 2:
            return 0
        return self._window_bytes * 8_000_000_000 // max(1, self._sizes[-1][0] - self._sizes[0][0])

    def loss_bound_ns(self, tick_ns: int) -> int:
        """min(max_age, time to 128 KiB at the current rate) + tick + flush + hold-back (format.md section 4)."""
        self._work_off()
        fill_ns = MAX_AGE_NS
        if self._window_bytes and len(self._sizes) > 1:
            span_ns = max(1, self._sizes[-1][0] - self._sizes[0][0])
            fill_ns = min(MAX_AGE_NS, MIN_BYTES * span_ns // self._window_bytes)
        hold_ns = max(((t.format.reorder_depth + 2) * t.interval_ns for t in self.tracks), default=0)
        return fill_ns + tick_ns + _FLUSH_NS + hold_ns

    def within_loss_bound(self, age_ns: int, tick_ns: int) -> bool:
        """Whether `age_ns` is at most `loss_bound_ns`. Of a healthy stream it is less than any bound, so nothing needs to be worked off."""
        return age_ns <= tick_ns + _FLUSH_NS or age_ns <= self.loss_bound_ns(tick_ns)

    # --- when memory runs out ------------------------------------------------------------------------------

    def drop(self, cause: GapCause) -> int:
        """Gives up what has not been appended, and everything up to the next key frame. Returns the bytes freed."""
        before = self.held_bytes
        from_ns = self._backlog[0].arrived_from_ns if self._backlog else self._fragmenter.oldest_arrival_ns
        while (cut := self._fragmenter.flush()) is not None:
            self._backlog.append(cut)
        for cut in self._backlog:
            self._give_up(cut)
        self._backlog.clear()
        self._skip_until_key = any(t.format.kind is MediaKind.VIDEO for t in self.tracks)
        self._broken = True
        self.lost_cause = cause
        for track in self.tracks:
            track.waiting_ns = 0 if not self._sent else track.waiting_ns
        if from_ns is not None:
            self.store.note_gap(self.spec.recording, [t.track for t in self.tracks], cause, from_ns, None)
        return before - self.held_bytes

    def _give_up(self, cut: Cut) -> None:
        self.counters.dropped_units += sum(run.count for run in cut.fragment.runs)
        self.counters.dropped_bytes += cut.fragment.size

    def _count_dropped(self, unit: AccessUnit) -> None:
        self.counters.dropped_units += 1
        self.counters.dropped_bytes += len(unit.data)
