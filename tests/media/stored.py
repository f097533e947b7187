"""Clips as the ring would hold them: fragments with their anchors, and the takes that export them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recorderd.media.fragmenter import Cut, Fragmenter
from recorderd.media.remux import Remux, Take
from recorderd.media.sample_table import TrackTable, parse_fragment
from recorderd.model.stream import AccessUnit, TrackFormat
from tests.media import clips


@dataclass(frozen=True)
class Stored:
    """One fragment; `starts[track]` is the media time of the track's first sample, `tables` by track."""

    payload: bytes
    starts: dict[int, int]
    tables: dict[int, TrackTable]


def store(formats: Sequence[TrackFormat], units: Sequence[AccessUnit], every_ns: int = 700_000_000) -> list[Stored]:
    """Recorded with a tick of `every_ns`, then read back."""
    fragmenter = Fragmenter(formats)
    cuts: list[Cut] = []
    tick = units[0].arrival_ns + every_ns
    for unit in units:
        while unit.arrival_ns >= tick:
            if (cut := fragmenter.take(tick)) is not None:
                cuts.append(cut)
            tick += every_ns
        fragmenter.push(unit)
    while (cut := fragmenter.flush()) is not None:
        cuts.append(cut)
    found = []
    for cut in cuts:
        buffer = bytearray(cut.fragment.size)
        cut.fragment.write_into(memoryview(buffer), 1, [0] * len(formats))
        tables = {table.track: table for table in parse_fragment(buffer, len(formats))}
        found.append(Stored(bytes(buffer), {first.track: first.pts for first in cut.firsts}, tables))
    return found


def takes(fragment: Stored, offsets: dict[int, int], **changes: object) -> list[Take]:
    """Every track, its media time moved by `offsets[track]` ticks onto the axis."""
    return [
        replace(Take(track, table, fragment.starts[track], fragment.starts[track] + offsets.get(track, 0)), **changes)
        for track, table in fragment.tables.items()
    ]


def export(
    formats: Sequence[TrackFormat],
    fragments: Sequence[Stored],
    offsets: dict[int, int] | None = None,
    *,
    fragmented: bool = False,
) -> bytes:
    """All of it, from the first key frame of the first fragment on."""
    remux = Remux(formats, fragmented=fragmented)
    out = bytearray()
    for fragment in fragments:
        for piece in remux.add(memoryview(fragment.payload), takes(fragment, offsets or {})):
            out += piece
    for piece in remux.finish():
        out += piece
    return bytes(out)


def recorded(
    clip: clips.Clip, sound: clips.Clip | None = None, start: int = 0
) -> tuple[list[TrackFormat], list[AccessUnit]]:
    """A clip with its sound as one session whose media times begin at `start`."""
    units = clips.on_track(clips.retime(clip.units, start), 0, clips.CLOCK)
    if sound is None:
        return [clip.form], units
    rate = sound.form.clock_rate
    moved = clips.retime(sound.units, start * rate // clips.CLOCK)
    return [clip.form, sound.form], clips.interleave(units, clips.on_track(moved, 1, rate))
