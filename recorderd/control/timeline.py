"""The face of `io.recorderd.Timeline`: the ledger's queries in names and RFC 3339."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.model.causes import GapCause, RunKind
from recorderd.model.timeline import Instant, Run, Trust
from recorderd.protocol import timeline
from recorderd.protocol.errors import InvalidArgument, NotFound
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339, to_rfc3339
from recorderd.ring.border import SlotRef
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.ledger.spans import MERGED

_US = 1000
_MS = 1_000_000
_HOUR_NS = 3_600_000_000_000
_FAR_NS = 1 << 61
_MAX_OFFSET_S = 50_400  # 14 h: the widest zone there is

# (slot, track) -> boot times of its key frames, ascending; empty when the slot is gone meanwhile.
KeyFrames = Callable[[SlotRef, uuid.UUID], Awaitable[list[Instant]]]


class TimelineFace:
    def __init__(
        self, *, ledger: RingLedger, key_frames: KeyFrames, find_recording: Callable[[str], uuid.UUID | None]
    ) -> None:
        self._queries = ledger.queries
        self._key_frames = key_frames
        self._find_recording = find_recording

    def bind(self, table: Dispatch) -> None:
        table.reply(timeline.GET_TIMELINE, self._timeline)
        table.reply(timeline.GET_CALENDAR, self._calendar)
        table.reply(timeline.LIST_RUNS, self._runs)
        table.reply(timeline.LOCATE, self._locate)
        table.reply(timeline.GET_COVERAGE, self._coverage)

    async def _timeline(self, call: timeline.TimelineCall, _: Peer) -> timeline.Timeline:
        start, stop = _range(call.start, call.stop)
        limit = _limit(call.limit, timeline.MAX_BARS)
        recording, track = self._names(call.recording, call.track)
        rows = self._queries.timeline(recording, track, start, stop)
        rows = rows[rows["stop"] - rows["start"] >= _US]  # what is left of a bar that the page before showed
        page, rest = rows[:limit], rows[limit:]
        return timeline.Timeline(
            bars=[
                timeline.Bar(
                    start=to_rfc3339(begin),
                    stop=to_rfc3339(end),
                    run=run or None,
                    kind=_kind(kind),
                    cause=GapCause(cause).name.lower() if cause >= 0 else None,
                    trust=_trust(trust),
                    merged=bool(flags & MERGED),
                )
                for begin, end, run, kind, cause, trust, flags in page.tolist()
            ],
            next=to_rfc3339(int(rest["start"][0])) if len(rest) else None,
        )

    async def _calendar(self, call: timeline.CalendarCall, _: Peer) -> timeline.Calendar:
        start, stop = _range(call.start, call.stop)
        if abs(call.utc_offset_s) > _MAX_OFFSET_S:
            raise InvalidArgument("utc_offset_s", "at most 14 hours", str(call.utc_offset_s))
        offset_ns = call.utc_offset_s * 1_000_000_000
        recording, track = self._names(call.recording, call.track)
        days = self._queries.calendar(recording, track, start, stop, offset_ns)
        return timeline.Calendar(
            days=[timeline.Day(day=to_rfc3339(day + offset_ns)[:10], recorded_ms=ns // _MS) for day, ns in days]
        )

    async def _runs(self, call: timeline.RunsCall, _: Peer) -> timeline.Runs:
        limit = _limit(call.limit, timeline.MAX_RUNS)
        found = self._queries.runs(
            recording=None if call.recording is None else self._names(call.recording, None)[0],
            job=None if call.job is None else _identity("job", call.job),
            kind=None if call.kind is None else RunKind[call.kind.upper()],
            topic=call.topic,
            from_ns=0 if call.start is None else _time("start", call.start),
            to_ns=_FAR_NS if call.stop is None else _time("stop", call.stop),
            after=call.after or 0,
            limit=limit + 1,
        )
        return timeline.Runs(
            runs=[self._run(run) for run in found[:limit]], next=found[limit - 1].id if len(found) > limit else None
        )

    def _run(self, run: Run) -> timeline.Run:
        cause = run.cause
        return timeline.Run(
            id=run.id,
            recording=str(run.recording),
            recording_name=self._queries.name(run.recording),
            job=str(run.job),
            receiver=run.source,
            kind=_kind(run.cause.kind) or "continuous",
            topic=cause.topic or None,
            source=cause.source or None,
            event_time=to_rfc3339(cause.instant_ns) if cause.instant_ns else None,
            tracks=[str(track) for track in run.tracks],
            start=to_rfc3339(self._queries.wall(run.start)),
            stop=None if run.stop is None else to_rfc3339(self._queries.wall(run.stop)),
            trust=_trust(self._queries.trust(run.start)),
        )

    async def _locate(self, call: timeline.LocateCall, _: Peer) -> timeline.Located:
        at = _time("at", call.at)
        recording, track = self._names(call.recording, call.track)
        place = self._queries.locate(recording, track, at)
        if place is None:
            return timeline.Located(key_frame=None, inside=False, run=None)
        keys = await self._key_frames(place.ref, place.track)
        usable = [
            key for key in keys if key.boot_id == place.start.boot_id and place.start.ns <= key.ns < place.stop.ns
        ]
        before = [key for key in usable if key.ns <= place.at.ns]
        chosen = before[-1] if before else usable[0] if usable else place.at
        return timeline.Located(
            key_frame=to_rfc3339(self._queries.wall(chosen)), inside=place.inside, run=place.run or None
        )

    async def _coverage(self, call: timeline.CoverageCall, _: Peer) -> timeline.Coverage:
        recording, track = self._names(call.recording, call.track)
        hour = self._queries.coverage(recording, track, _HOUR_NS)
        day = self._queries.coverage(recording, track, 24 * _HOUR_NS)
        return timeline.Coverage(hour=_fraction(*hour), day=_fraction(*day))

    def _names(self, recording: str, track: str | None) -> tuple[uuid.UUID, uuid.UUID | None]:
        holder = self._find_recording(recording)
        if holder is None:
            raise NotFound("recording", printable(recording))
        if track is None:
            return holder, None
        part = self._queries.find_track(holder, track)
        if part is None:
            raise NotFound("track", printable(track))
        return holder, part


def _fraction(due_ns: int, recorded_ns: int) -> float | None:
    return recorded_ns / due_ns if due_ns else None


def _kind(number: int) -> timeline.KindWord | None:
    words: tuple[timeline.KindWord, ...] = ("continuous", "schedule", "event", "manual")
    return words[number] if 0 <= number < len(words) else None


def _trust(number: int) -> timeline.TrustWord:
    words: dict[Trust, timeline.TrustWord] = {
        Trust.NONE: "none",
        Trust.RTC: "rtc",
        Trust.OPERATOR: "operator",
        Trust.NTP: "ntp",
    }
    return words[Trust(number)]


def _limit(asked: int | None, most: int) -> int:
    if asked is None:
        return most
    if not 1 <= asked <= most:
        raise InvalidArgument("limit", f"1 to {most}", str(asked))
    return asked


def _time(argument: str, text: str) -> int:
    try:
        ns = from_rfc3339(text)
    except ValueError as error:
        raise InvalidArgument(argument, str(error), printable(text)) from None
    if not 0 <= ns < _FAR_NS:
        raise InvalidArgument(argument, "a time between 1970 and 2043", printable(text))
    return ns


def _range(start: str, stop: str) -> tuple[int, int]:
    low, high = _time("start", start), _time("stop", stop)
    if low >= high:
        raise InvalidArgument("stop", "a time after start", printable(stop))
    return low, high


def _identity(argument: str, text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidArgument(argument, "a UUID", printable(text)) from None
