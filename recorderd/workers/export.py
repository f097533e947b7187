"""The export worker: checked fragments in, one MP4 out. Started by the daemon as `python -m recorderd.workers.export PARENT DESCRIPTOR`.

It gets slots a message at a time (see `protocol.work`), reads them through descriptors that it cannot write to, checks every fragment
against generation, sequence and checksum, and writes the file. What cannot be read leaves a gap and a note.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorderd.media.alignment import Alignment
from recorderd.media.errors import BitstreamError, BoxError, MediaError
from recorderd.media.remux import Bytes, Remux, Take
from recorderd.media.sample_table import MAX_TRACKS, TrackTable, parse_fragment
from recorderd.model.stream import Codec
from recorderd.protocol.work import (
    IN_FLIGHT,
    ExportWork,
    Finish,
    Into,
    Range,
    SlotDone,
    SlotWork,
    Stored,
    WorkDone,
    Written,
)
from recorderd.ring.layout import FragmentRecord, TrackPart
from recorderd.workers.channel import Channel, answer
from recorderd.workers.confinement import confine
from recorderd.workers.output import OUTPUT_FD, CannotWrite, Output, handed_over
from recorderd.workers.sandbox import MEDIA
from recorderd.workers.stored_fragment import Found, Life, ReadAhead

if TYPE_CHECKING:
    from recorderd.workers.aac import AacTrack

_NS = 1_000_000_000
_EDGE_NS = 5_000_000  # a range that begins or ends this close to a fragment's edge means the edge
_MAX_NOTES = 100
TELL_BYTES = 4 << 20
_MEMORY_BYTES = 1 << 30
_CPU_S = 4 * 3600


@dataclass(slots=True)
class _Progress:
    """What an output track took last: the next share goes on from it only if nothing is missing between."""

    session: Hashable = None
    range: Hashable = None
    end_pts: int = 0
    cold: bool = True


class Export:
    """Turns stored fragments into pieces of the file. Does no I/O."""

    def __init__(self, work: ExportWork) -> None:
        self._rates = [track.format.clock_rate for track in work.tracks]
        wanted = [
            n for n, track in enumerate(work.tracks) if work.audio_as_aac or track.format.codec is Codec.G726
        ]  # G.726 has no place in MP4
        self._aac = _encoders(work, wanted) if wanted else {}
        formats = [self._aac[n].format if n in self._aac else track.format for n, track in enumerate(work.tracks)]
        self._remux = Remux(formats, [track.name for track in work.tracks], fragmented=work.fragmented)
        self._alignment = Alignment([track.format for track in work.tracks])
        self._progress = [_Progress() for _ in work.tracks]
        self._origin_ns = 0  # axis time at which the file begins
        self._begun = False
        self.notes: list[str] = []
        self._unnoted = 0
        if not work.audio_as_aac and self._aac:
            self.notes.append("G.726 sound has no place in MP4: it is in the file as AAC")

    def add(self, work: SlotWork, found: Found) -> list[Bytes]:
        """The next fragment, in the order of the plan. Views in the result are into its payload. Raises MediaError."""
        ranges = _shares(work, found.stored.sequence)
        if found.record is None:
            self._missing(work, ranges, found.fault)
            return []
        try:
            tables = {table.track: table for table in parse_fragment(found.payload, MAX_TRACKS)}
            takes = [take for share in ranges for take in self._take(work, share, found.record, tables)]
            return self._add(found.payload, takes) if takes else []
        except (BoxError, BitstreamError) as error:
            self._missing(work, ranges, f"fragment {found.stored.sequence}: {error}")
            return []

    def _add(self, payload: memoryview, takes: list[Take]) -> list[Bytes]:
        pieces = self._remux.add(payload, [take for take in takes if take.output not in self._aac])
        for take in takes:
            if take.output in self._aac:
                for encoded, again in self._aac[take.output].feed(payload, take):
                    pieces += self._remux.add(memoryview(encoded), [again])
        return pieces

    def finish(self) -> list[Bytes]:
        """The end of the file. Raises MediaError when there is nothing to write."""
        pieces: list[Bytes] = []
        for track in self._aac.values():
            for encoded, take in track.finish():
                pieces += self._remux.add(memoryview(encoded), [take])
        pieces += self._remux.finish()
        if self._unnoted:
            self.notes.append(f"{self._unnoted} more fragments could not be read")
        return pieces

    def done(self, written: int) -> WorkDone:
        return WorkDone(True, "", tuple(self.notes), self._remux.samples, self._remux.duration_s(), written)

    def _take(
        self, work: SlotWork, part_range: Range, record: FragmentRecord, tables: dict[int, TrackTable]
    ) -> list[Take]:
        part = next((part for part in record.parts if part.track == part_range.track), None)
        table = tables.get(part_range.track)
        if part is None or table is None:
            return []
        rate = self._rates[part_range.output]
        from_pts, to_pts, outside = _cuts(part, part_range, rate)
        if outside:
            return []
        if not self._begun:
            self._begin(work, part_range, part)
        progress = self._progress[part_range.output]
        session = (work.source, record.boot_id, part.anchor.session)
        placed = self._alignment.place(
            part_range.output,
            session,
            part.anchor.media_time,
            part.anchor.boottime_ns + work.axis_ns - self._origin_ns,
            part.anchor.report,
            self._remux.end_tick(part_range.output),
        )
        here = (work.slot, work.generation, part_range)
        # A new run of the same stream may begin inside a GOP, exactly where the one before it ended.
        ahead = part.first_pts - progress.end_pts
        joins = session == progress.session and -rate <= ahead <= table.durations[0] // 2
        cold = (
            progress.cold or session != progress.session or (part_range.cold and here != progress.range and not joins)
        )
        progress.session, progress.range, progress.end_pts, progress.cold = session, here, part.end_pts, False
        return [Take(part_range.output, table, part.anchor.media_time, placed.tick, cold, from_pts, to_pts)]

    def _begin(self, work: SlotWork, first: Range, part: TrackPart) -> None:
        """The file begins exactly at its first key frame, which the plan knows to within the drift of a slot."""
        self._begun = True
        if first.from_pts is not None and part.first_pts <= first.from_pts < part.end_pts:
            ahead = first.from_pts - part.anchor.media_time
            self._origin_ns = part.anchor.boottime_ns + ahead * _NS // self._rates[first.output] + work.axis_ns

    def _missing(self, work: SlotWork, ranges: list[Range], fault: str) -> None:
        for missing in ranges:
            self._progress[missing.output].cold = True
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(f"slot {work.slot}: {fault}; left out")
        else:
            self._unnoted += 1


def _encoders(work: ExportWork, wanted: list[int]) -> dict[int, AacTrack]:
    # Loading PyAV takes longer than many an export: only where it is needed.
    from recorderd.workers.aac import AacTrack

    return {n: AacTrack(work.tracks[n].format) for n in wanted if AacTrack.takes(work.tracks[n].format)}


@dataclass(slots=True)
class _Order:
    """A message from the daemon, until all it asks for is written."""

    work: SlotWork
    fds: list[int]
    left: int


class _Intake:
    """The daemon's messages, as the jobs that `ReadAhead` takes."""

    def __init__(self, channel: Channel, work: ExportWork) -> None:
        self._channel = channel
        self._disk = uuid.UUID(work.disk)
        self._orders = 0

    def jobs(self) -> Iterator[tuple[_Order, Life, list[Stored]] | None]:
        """Until the daemon says that there is no more. Raises NoWork."""
        while True:
            if self._orders == IN_FLIGHT:
                yield None  # the daemon sends the next when it hears of the first
                continue
            message, fds = self._channel.receive(SlotWork | Finish)  # type: ignore[arg-type]  # a union is a type to msgspec
            if isinstance(message, Finish):
                return
            wanted = [stored for stored in message.fragments if _shares(message, stored.sequence)]
            order = _Order(message, fds, len(wanted))
            self._orders += 1
            if wanted:
                yield order, Life(fds[0], self._disk, message.generation, message.slot_bytes), wanted
            else:
                self.used(order, 0, 0)

    def used(self, order: _Order, count: int, written: int) -> None:
        """So many of its fragments are in the file, which has `written` bytes now."""
        order.left -= count
        if not order.left:
            for fd in order.fds:
                os.close(fd)
            self._orders -= 1
            self._channel.send(SlotDone(order.work.number, written))


def _shares(work: SlotWork, sequence: int) -> list[Range]:
    """Which ranges the fragment is in, the leader's first."""
    found = [share for share in work.ranges if share.first <= sequence < share.first + share.count]
    return sorted(found, key=lambda share: share.output)


def _cuts(part: TrackPart, share: Range, rate: int) -> tuple[int | None, int | None, bool]:
    """(from, to, nothing of it) in media time: where the range begins or ends inside this fragment."""
    anchor = part.anchor
    edge = _EDGE_NS * rate // _NS
    begin = anchor.media_time + (share.start_ns - anchor.boottime_ns) * rate // _NS
    end = anchor.media_time + (share.stop_ns - anchor.boottime_ns) * rate // _NS
    from_pts = begin if begin > part.first_pts + edge else None
    to_pts = end if end < part.end_pts - edge else None
    if share.from_pts is not None:
        from_pts = share.from_pts if part.first_pts <= share.from_pts < part.end_pts else from_pts
    outside = begin >= part.end_pts or end <= part.first_pts
    return from_pts, to_pts, outside


def run(channel: Channel, reader: ReadAhead[_Order]) -> WorkDone:
    """Raises NoWork, MediaError, CannotWrite, OSError."""
    work, fds = channel.receive(ExportWork)
    export, intake, output = Export(work), _Intake(channel, work), Output(_output_fd(work.into, fds))
    MEDIA.close()  # what is to be loaded is loaded; what comes now is from cameras and disks
    told = 0
    for order, found in reader.read(intake.jobs()):
        pieces = [piece for one in found for piece in export.add(order.work, one)]
        output.write(pieces)
        intake.used(order, len(found), output.bytes)
        if work.into is not Into.OUTPUT and output.bytes - told >= TELL_BYTES:
            told = output.bytes
            channel.send(Written(told))
    output.write(export.finish())
    return export.done(output.bytes)


def _output_fd(into: Into, fds: list[int]) -> int:
    match into:
        case Into.OUTPUT:
            return OUTPUT_FD
        case Into.DESCRIPTOR:
            return fds[0]
        case Into.HANDED:
            return handed_over(fds[0])


def main() -> int:
    confine(memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S, parent=int(sys.argv[1]))
    reader: ReadAhead[_Order] = ReadAhead(MEDIA.close)
    return answer(Channel(int(sys.argv[2])), lambda channel: run(channel, reader), MediaError, CannotWrite)


if __name__ == "__main__":
    sys.exit(main())
