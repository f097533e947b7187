"""Source tags: which track of a stream a job means when the stream has several of one type (5.3.3, SourceTag)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from recorderd.model.stream import MediaKind, TrackFormat

_TAG = re.compile(r"(video|audio|metadata)([1-9][0-9]?)?", re.IGNORECASE)


def valid_tag(tag: str) -> bool:
    return tag == "" or _TAG.fullmatch(tag) is not None


def choose(formats: Sequence[TrackFormat], wanted: Sequence[tuple[str, MediaKind]]) -> Mapping[int, int]:
    """Index in `wanted` ((source tag, type of the destination)) -> index of the stream's track; what the stream lacks is absent.

    A number counts tracks of that type from 1 in the order of the SDP. Without one, tags are served in order from what is left.
    """
    by_kind = {kind: [i for i, f in enumerate(formats) if f.kind is kind] for kind in MediaKind}
    chosen: dict[int, int] = {}
    loose: list[tuple[int, MediaKind]] = []
    for index, (tag, kind) in enumerate(wanted):
        match = _TAG.fullmatch(tag)
        if match is not None and match[1].lower() != kind.value:
            continue
        if match is None or match[2] is None:
            loose.append((index, kind))
            continue
        place = int(match[2]) - 1
        if place < len(by_kind[kind]):
            chosen[index] = by_kind[kind][place]
    taken = set(chosen.values())
    for index, kind in loose:
        left = next((i for i in by_kind[kind] if i not in taken), None)
        if left is not None:
            chosen[index] = left
            taken.add(left)
    return chosen
