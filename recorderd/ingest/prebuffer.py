"""The pre-buffer of one receiver: its closed GOPs and the open one, inside a hard reservation of memory.

At least the two newest closed GOPs are held, and as many more as it takes to cover the seconds asked for. When the reservation is too small
for that, and nothing more can be had, the oldest go and the state says `short`: known before an event, not at it. A session that ends
takes nothing away: what led up to a camera's failure is just what an event may ask for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from recorderd.model.causes import GapCause
from recorderd.model.ports import HeldSession, StreamRequest, StreamSession
from recorderd.model.stream import AccessUnit, MediaKind, SenderReport, TrackFormat

LEAST_GOPS = 2
UNIT_OVERHEAD_BYTES = 200  # of the objects that carry an access unit
AUDIO_GOP_NS = 1_000_000_000  # streams without video are cut into seconds
ROOM = 1.25  # on top of an estimated need: rates vary
DEFAULT_GOP_FRAMES, DEFAULT_FPS = 64, 30
GROW_BYTES = 256 * 1024  # reservations grow in steps, so that one is not asked for at every picture


@dataclass(slots=True)
class _Part:
    """One session's share of what is held. Media times of another session have no relation to this one's."""

    session: StreamSession
    video: int | None  # its video track
    formats: list[TrackFormat]
    reports: list[SenderReport | None]
    ended: GapCause | None = None


@dataclass(slots=True)
class Gop:
    """A key frame and all units of all tracks up to the next one, in the order of arrival."""

    part: _Part
    units: list[AccessUnit] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def from_ns(self) -> int:
        return self.units[0].arrival_ns

    @property
    def to_ns(self) -> int:
        return self.units[-1].arrival_ns

    def add(self, units: Sequence[AccessUnit]) -> int:
        """Returns the bytes they take."""
        size = sum([len(unit.data) for unit in units]) + UNIT_OVERHEAD_BYTES * len(units)
        self.units += units
        self.size_bytes += size
        return size


def estimate_bytes(request: StreamRequest) -> int:
    """What a pre-buffer will need, before the stream has been seen: from its stream options, or what cameras usually send."""
    options = dict(request.options)
    rate = _number(options.get("videomaxbitrate")) or _number(options.get("videobitrate"))
    if rate:
        bits_per_s = rate * 1000
    else:
        width, _, height = options.get("resolution", "1920x1080").partition("x")
        pixels = (_number(width) or 1920) * (_number(height) or 1080)
        bits_per_s = 500_000 + 2 * pixels
    frames = _number(options.get("videokeyframeinterval")) or DEFAULT_GOP_FRAMES
    gop_s = frames / (_number(options.get("fps")) or DEFAULT_FPS)
    seconds = max(request.prebuffer_s + gop_s, LEAST_GOPS * gop_s) + gop_s
    return round(bits_per_s / 8 * seconds * ROOM)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 9 else 0


class PreBuffer:
    """Implements `ports.PreBufferView`. `reserve(bytes)` asks for a reservation of that size and tells what it is then."""

    def __init__(self, *, seconds: float, reserve: Callable[[int], int], first_bytes: int) -> None:
        self._reserve = reserve
        self._closed: deque[Gop] = deque()
        self._open: Gop | None = None
        self._part: _Part | None = None  # of the newest session
        self._size = 0
        self._skipping = False
        self.short, self.short_detail = False, ""
        self.resize(seconds, first_bytes)

    def resize(self, seconds: float, need_bytes: int) -> None:
        """Another length from here on, for which `need_bytes` were estimated; what is held stays as far as that goes."""
        self._seconds_ns = round(seconds * 1e9)
        self._trim()
        need_bytes = max(need_bytes, self._size)
        self._share = self._reserve(need_bytes)
        self.short = self._share < need_bytes
        self.short_detail = self._too_small(need_bytes) if self.short else ""
        self._let_go()

    def session_opened(self, session: StreamSession) -> None:
        """What is held of the session before stays until it is older than what was asked for."""
        if self._part is not None and self._part.ended is None:
            self.session_closed(GapCause.UNKNOWN)
        kinds = [form.kind for form in session.formats]
        video = kinds.index(MediaKind.VIDEO) if MediaKind.VIDEO in kinds else None
        self._part = _Part(session, video, list(session.formats), [None] * len(kinds))
        self._skipping = False

    def session_closed(self, cause: GapCause) -> None:
        if self._part is not None:
            self._part.ended = cause
        self._close()

    def format_changed(self, track: int, new: TrackFormat) -> None:
        if self._part is not None:
            self._part.formats[track] = new

    def sender_report(self, track: int, report: SenderReport) -> None:
        if self._part is not None:
            self._part.reports[track] = report

    def add(self, units: Sequence[AccessUnit]) -> None:
        """Units of the session that was opened last."""
        part = self._part
        assert part is not None
        # What nearly all sweeps bring begins nothing.
        if self._open is not None and not self._skipping and not _may_begin(units, part.video):
            self._size += self._open.add(units)
            if self._size > self._share:
                self._make_room()
            return
        for unit in units:
            if self._begins(part, unit):
                self._skipping = False
                self._close()
                self._open = Gop(part)
                self._trim()
            if self._open is not None and not self._skipping:
                self._size += self._open.add((unit,))
        if self._size > self._share:
            self._make_room()

    def _close(self) -> None:
        if self._open is not None and self._open.units:
            self._closed.append(self._open)
        self._open = None

    def _begins(self, part: _Part, unit: AccessUnit) -> bool:
        if part.video is not None:
            return unit.key and unit.track == part.video
        return self._open is None or unit.arrival_ns - self._open.from_ns >= AUDIO_GOP_NS

    def _trim(self) -> None:
        """Lets go of what neither the two newest nor the seconds need."""
        closed = self._closed
        while len(closed) > LEAST_GOPS and closed[-1].to_ns - closed[1].from_ns >= self._seconds_ns:
            self._size -= closed.popleft().size_bytes
        if self.short and self._whole():
            self.short, self.short_detail = False, ""

    def _whole(self) -> bool:
        """Whether all that was asked for is held."""
        closed = self._closed
        return len(closed) >= LEAST_GOPS and closed[-1].to_ns - closed[0].from_ns >= self._seconds_ns

    def _make_room(self) -> None:
        wanted = round(self._size * ROOM) + GROW_BYTES
        self._share = self._reserve(wanted)
        if self._size <= self._share:
            return
        if not self.short:
            self.short, self.short_detail = True, self._too_small(wanted)
        self._let_go()

    def _let_go(self) -> None:
        while self._size > self._share and self._closed:
            self._size -= self._closed.popleft().size_bytes
        if self._size > self._share:
            # Not even the open GOP fits: nothing can be held until a smaller one comes.
            self._open, self._size, self._skipping = None, 0, True

    def _too_small(self, wanted: int) -> str:
        return f"the pre-buffer needs {wanted >> 10} KiB and has {self._share >> 10} KiB of limits.media_ram"

    @property
    def size_bytes(self) -> int:
        return self._size

    @property
    def share_bytes(self) -> int:
        return self._share

    # --- ports.PreBufferView -----------------------------------------------------------------------------

    def held_s(self) -> float:
        return (self._closed[-1].to_ns - self._closed[0].from_ns) / 1e9 if self._closed else 0.0

    def since(self, boottime_ns: int) -> Iterable[AccessUnit]:
        gops = [gop for gop in self._held() if gop.part is self._part and gop.part.ended is None]
        return _units(_from(gops, boottime_ns))

    def earlier(self, boottime_ns: int) -> Sequence[HeldSession]:
        found = []
        past = (gop for gop in self._held() if gop.part.ended is not None)
        for _, group in groupby(past, key=lambda gop: gop.part.session.serial):
            gops = list(group)
            part = gops[0].part
            if part.ended is not None and gops[-1].to_ns >= boottime_ns:
                units = tuple(_units(_from(gops, boottime_ns)))
                found.append(HeldSession(part.session, tuple(part.formats), tuple(part.reports), units, part.ended))
        return found

    def _held(self) -> list[Gop]:
        return [*self._closed, *([self._open] if self._open is not None and self._open.units else [])]


def _may_begin(units: Sequence[AccessUnit], video: int | None) -> bool:
    """Whether one of `units` may be a GOP's first."""
    return video is None or any(unit.key and unit.track == video for unit in units)


def _from(gops: Sequence[Gop], boottime_ns: int) -> Sequence[Gop]:
    """From the last that began at or before `boottime_ns`; all if none did."""
    return gops[max((i for i, gop in enumerate(gops) if gop.from_ns <= boottime_ns), default=0) :]


def _units(gops: Sequence[Gop]) -> Iterator[AccessUnit]:
    for gop in gops:
        yield from tuple(gop.units)
