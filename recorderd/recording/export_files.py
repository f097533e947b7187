"""Which files an export to a storage destination makes, and their names. Pure.

A recording is cut at whole multiples of the files' length, so that a failure costs one file and none is too long to handle. Where exactly
a file begins is decided when it is made: at the key frame nearest to the cut, where the file before it ends.
"""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace

from recorderd.recording.export_plan import WantedTrack

_NS = 1_000_000_000
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A recording to be exported: its id, what files are named after, and its tracks."""

    recording: uuid.UUID
    name: str
    tracks: tuple[WantedTrack, ...]


@dataclass(frozen=True, slots=True)
class ExportFile:
    """[start, stop) of wall time, ns since 1970, before the cuts are moved to key frames. `follows`: so does the file before it end."""

    source: Source
    name: str
    start_ns: int
    stop_ns: int
    follows: bool


def files_of(
    source: Source,
    recorded: Iterable[tuple[int, int]],
    start_ns: int,
    stop_ns: int,
    file_ns: int,
    folder: str,
    mark: str,
) -> list[ExportFile]:
    """One file for each multiple of `file_ns` in which something is recorded. `recorded` are stretches of wall time, ascending; `mark`
    makes names that no other export has used."""
    files: list[ExportFile] = []
    cut = ended = -1
    for begin, end in recorded:
        at, end = max(begin, start_ns), min(end, stop_ns)
        while at < end:
            if at >= cut:
                cut = (at // file_ns + 1) * file_ns
                files.append(ExportFile(source, _name(source, at, folder, mark), at, at, ended == at))
            ended = min(end, cut)
            files[-1] = replace(files[-1], stop_ns=ended)
            at = cut
    return files


def _name(source: Source, start_ns: int, folder: str, mark: str) -> str:
    """`folder/door_20261108T150823Z_1f2e3d4c.mp4`."""
    moment = datetime.datetime.fromtimestamp(start_ns // _NS, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{_UNSAFE.sub('-', source.name).strip('.-')[:64] or source.recording.hex[:12]}_{moment}_{mark}.mp4"
    return f"{folder}/{name}" if folder else name
