"""What the daemon asks of its workers, and what they answer: messages between two processes, JSON, one per datagram.

A worker has its work on a SOCK_SEQPACKET socket, with descriptors of slots as ancillary data. It writes media to its standard output, or
to a file whose descriptor it was given. It never opens a path and never learns a credential.
"""

from __future__ import annotations

import enum

import msgspec

from recorderd.model.stream import TrackFormat

MAX_MESSAGE_BYTES = 128 * 1024
MAX_FRAGMENTS = 512  # per message
IN_FLIGHT = 2  # messages with slots that are not answered yet


class OutputTrack(msgspec.Struct, frozen=True):
    """One track of the file to be written. `format` is as stored; `name` what players show."""

    format: TrackFormat
    name: str = ""


class Into(enum.StrEnum):
    """Where the worker writes."""

    OUTPUT = "output"  # its standard output
    DESCRIPTOR = "descriptor"  # what came with the message
    HANDED = "handed"  # what somebody sends, with one byte, over the socket that came with the message


class ExportWork(msgspec.Struct, frozen=True):
    """The first message to the export worker. The first video track leads: sound is kept in time with it."""

    disk: str  # uuid
    tracks: tuple[OutputTrack, ...]
    fragmented: bool = False
    audio_as_aac: bool = False
    into: Into = Into.OUTPUT


class Stored(msgspec.Struct, frozen=True):
    """Where a fragment lies in its slot, in bytes."""

    sequence: int
    offset: int
    bytes: int


class Range(msgspec.Struct, frozen=True):
    """One output track's share of a slot: samples from boot time `start_ns` up to `stop_ns`, in fragments first .. first+count-1.

    `cold`: what the track had before is not followed by this. `from_pts`: the first sample to take is the key frame with this media time.
    """

    output: int
    track: int  # index in the slot's writer
    first: int
    count: int
    start_ns: int
    stop_ns: int
    cold: bool = False
    from_pts: int | None = None


class SlotWork(msgspec.Struct, frozen=True, tag=True):
    """Fragments of one life of one slot, whose read-only descriptor comes with the message. Boot time + `axis_ns` is time of the export.

    `source` and the session serials of the anchors say which media times belong together.
    """

    number: int
    slot: int
    generation: int
    slot_bytes: int
    source: str
    axis_ns: int
    ranges: tuple[Range, ...]
    fragments: tuple[Stored, ...]


class Finish(msgspec.Struct, frozen=True, tag=True):
    """No more slots: write the end of the file."""


class SnapshotWork(msgspec.Struct, frozen=True):
    """One picture: the key frame with media time `pts` of writer track `track`, in one fragment, at most `width` wide (0: as it is)."""

    disk: str
    slot: int
    generation: int
    slot_bytes: int
    format: TrackFormat
    track: int
    fragment: Stored
    pts: int
    width: int = 0
    image: str = "jpeg"  # or png


class Written(msgspec.Struct, frozen=True, tag=True):
    """A sign of life while the daemon does not see the bytes themselves: how long the file is."""

    bytes: int


class SlotDone(msgspec.Struct, frozen=True, tag=True):
    """All of a message is in the file. `bytes` is its length so far."""

    number: int
    bytes: int = 0


class WorkDone(msgspec.Struct, frozen=True, tag=True):
    """The last message of every worker. `complete` false: `reason` says why, in words; `notes` what the receiver should know."""

    complete: bool
    reason: str = ""
    notes: tuple[str, ...] = ()
    samples: tuple[int, ...] = ()
    duration_s: float = 0.0
    bytes: int = 0
