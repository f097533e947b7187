"""Access units of H.264 and H.265 from NAL units and pieces of them.

**Where a unit ends.** At the packet with the marker bit, or when the timestamp changes. The marker is believed once it has stood on the
last packet of `PROOF` units in a row; a packet of the same timestamp behind a marker (slices each with their own marker, SEI messages as
packets of their own) ends that belief for the session, and units then end by timestamp alone, one frame later. NAL units that come before
a picture's first slice belong to it even when their timestamp differs (parameter sets and SEI sent ahead).

**What a unit holds.** Its NAL units as they came, 4-byte length prefixes, parameter sets moved to the front (behind an access unit
delimiter). A key frame carries all sets in force. Units before the first key frame cannot be decoded and are only counted.

**Loss.** An incomplete NAL unit is dropped; what is left of its access unit, and the unit after the hole, are marked `damaged`.
"""

from __future__ import annotations

from recorderd.media.errors import MediaError
from recorderd.model.stream import AccessUnit, TrackFormat
from recorderd.rtsp.output import Output
from recorderd.rtsp.parameter_sets import ParameterSets

PROOF = 3
MAX_AGGREGATED = 512  # NAL units in one packet: a picture of 4K in slices of a macroblock row has 136
SET_WORK = 60  # packets (`Output.work`) that are as much work as a new parameter set
MAX_UNIT_BYTES = 16 * 1024 * 1024
MAX_WAITING_BYTES = 64 * 1024  # of NAL units that wait for their picture


class Pictures:
    """Base of the two depacketisers; they tell what their NAL units are and feed `_begin`, `_whole` and `pieces`."""

    def __init__(self, output: Output, track: int, sets: ParameterSets) -> None:
        self._output = output
        self._track = track
        self._sets = sets
        self.format: TrackFormat | None = sets.format
        self.fragment = b""
        self.pieces: list[bytes | memoryview] = []
        self._pieces_owned = 0
        self._head = b""  # NAL header of the fragmented unit
        self._parts: list[bytes | memoryview] = []
        self._owned = 0  # parts before this index no longer point into the receive buffer
        self._bytes = 0
        self._delimiter = b""
        self._new_sets: list[tuple[int, bytes]] = []
        self._pts: int | None = None
        self._slices = False  # one has begun
        self._picture = False  # one is complete
        self._key = False
        self._damaged = False
        self._lost = False
        self._marked = False
        self._closed = False
        self._agreed = 0
        self._started = False
        self._sets_changed = False
        self.skipped = 0  # units that no decoder could have used

    # --- what the codec's own class does -----------------------------------------------------------------

    def _payload(self, buffer: memoryview, start: int, end: int) -> None:
        raise NotImplementedError

    def _finished_fragment(self, nal: bytes) -> None:
        """A NAL unit that came in pieces and is no slice."""
        raise NotImplementedError

    # --- Depacketiser ------------------------------------------------------------------------------------

    def packet(self, buffer: memoryview, start: int, end: int, pts: int, marker: bool) -> None:
        if pts != self._pts:
            if self._pts is not None:
                self._time_changed()
            self._pts = pts
        elif self._marked:
            self._marker_was_early()
        if self._lost:
            self._lost = False
            self._damaged = True
        self._payload(buffer, start, end)
        if marker and self._slices and not self.fragment:
            self._marked = True
            if self._agreed >= PROOF:
                self._closed = True
                self._finish()

    def loss(self) -> None:
        self._lost = True
        if self.fragment:
            self._drop_fragment()

    def settle(self) -> None:
        if len(self._parts) > self._owned:
            self._parts[self._owned :] = [b"".join(self._parts[self._owned :])]
            self._owned = len(self._parts)
        if len(self.pieces) > self._pieces_owned:
            self.pieces[self._pieces_owned :] = [b"".join(self.pieces[self._pieces_owned :])]
            self._pieces_owned = len(self.pieces)
            if sum(map(len, self.pieces)) > MAX_UNIT_BYTES:
                self._drop_fragment()

    def flush(self) -> None:
        if self.fragment:
            self._drop_fragment()
        elif self._slices and not self._lost:
            self._finish()

    # --- units -------------------------------------------------------------------------------------------

    def _time_changed(self) -> None:
        if self.fragment:
            self._drop_fragment()
        if self._slices:
            self._damaged |= self._lost
            self._finish()
        if self._agreed >= 0 and not self._closed:
            self._agreed = self._agreed + 1 if self._marked else 0
        self._marked = self._closed = False

    def _marker_was_early(self) -> None:
        if self._agreed >= 0:
            self._agreed = -1
            self._output.remark("marker bits do not end pictures: ending them by timestamp, one frame later")
        self._marked = self._closed = False

    def _finish(self) -> None:
        pts, key, damaged = self._pts, self._key, self._damaged
        parts, size = self._parts, self._bytes
        sets, delimiter = self._new_sets, self._delimiter
        self._parts, self._owned, self._bytes = [], 0, 0
        self._new_sets, self._delimiter = [], b""
        picture = self._picture
        self._slices = self._picture = self._key = self._damaged = False
        if pts is None:
            return
        if sets:
            self._take_sets(sets)
        if not picture:
            self._damaged = True
            return
        changed = key and self._sets_changed and self._announce()
        if not self._started:
            if not key or self.format is None:
                self.skipped += 1
                return
            self._started = True
        if size > MAX_UNIT_BYTES:
            self._damaged = True
            self._output.remark(f"a picture of more than {MAX_UNIT_BYTES} bytes was dropped")
            return
        if key:
            parts.insert(0, self._sets.prefix)
        elif sets:
            parts.insert(0, b"".join(len(nal).to_bytes(4, "big") + nal for _, nal in sets))
        if delimiter:
            parts.insert(0, delimiter)
        self._output.unit(AccessUnit(self._track, pts, b"".join(parts), self._output.now_ns, key, damaged, changed))

    def _announce(self) -> bool:
        """Tells the format that begins with this key frame; whether it replaces another."""
        self._sets_changed = False
        before, new = self.format, self._sets.format
        if new is None or new == before:
            return False
        self.format = new
        self._output.format(self._track, new)
        return before is not None

    def _take_sets(self, sets: list[tuple[int, bytes]]) -> None:
        try:
            if not self._sets.update(sets):
                return
            self._sets_changed = True
        except MediaError as error:
            self._output.remark(f"parameter sets cannot be read: {error}")
        self._output.work += SET_WORK * len(sets)

    # --- NAL units ---------------------------------------------------------------------------------------

    def _whole(self, nal: memoryview, *, is_slice: bool) -> None:
        """A complete NAL unit that stays in its place."""
        self._picture |= is_slice
        self._parts.append(len(nal).to_bytes(4, "big"))
        self._parts.append(nal)
        self._grew(4 + len(nal))

    def _parameter_set(self, kind: int, nal: bytes) -> None:
        if len(self._new_sets) < 64 and (kind, nal) not in self._new_sets:
            self._new_sets.append((kind, nal))

    def _begin(self, header: bytes, first: memoryview, fragment: bytes) -> None:
        """The first piece of a NAL unit: its header, restored, and the payload behind it."""
        if self.fragment:
            self._drop_fragment()
        self._head = header
        self.fragment = fragment
        self.pieces.append(first)

    def _end(self, last: memoryview, *, is_slice: bool) -> None:
        """The last piece. A slice goes where it stands; about others `_finished_fragment` decides."""
        pieces = self.pieces
        pieces.append(last)
        self.fragment = b""
        self.pieces = []
        self._pieces_owned = 0
        if not is_slice:
            self._finished_fragment(b"".join((self._head, *pieces)))
            return
        self._picture = True
        size = len(self._head) + sum(map(len, pieces))
        self._parts.append(size.to_bytes(4, "big") + self._head)
        self._parts += pieces
        self._grew(4 + size)

    def _drop_fragment(self) -> None:
        self.fragment = b""
        self.pieces = []
        self._pieces_owned = 0
        self._damaged = True

    def _grew(self, size: int) -> None:
        self._bytes += size
        limit = MAX_UNIT_BYTES if self._slices else MAX_WAITING_BYTES
        if self._bytes > limit:
            # Kept as a size only: `_finish` says so, and memory stays bounded.
            self._parts, self._owned = [], 0
            if not self._slices:
                self._bytes = 0
