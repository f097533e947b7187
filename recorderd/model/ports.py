"""What one service needs of another, as protocols. The services never import each other; `daemon.py` wires them.

Directions: ingest calls `StreamSink`; recording implements it and calls `StreamSource`, `MediaStore` and `EventSource`;
power implements `PortPower` and calls `CameraLocator` and `CameraHealth`; network implements `CameraLocator`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from recorderd.model.causes import GapCause
from recorderd.model.device import CertificateCheck
from recorderd.model.stream import AccessUnit, SenderReport, TrackFormat
from recorderd.model.timeline import Lock, RunCause, Trust


class Clock(Protocol):
    """The only source of time for services. Tests pass a fake."""

    def boottime_ns(self) -> int:
        """CLOCK_BOOTTIME: never steps, counts suspend."""

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME since 1970: may step."""

    def trust(self) -> Trust:
        """How far `realtime_ns` can be relied on now."""

    async def sleep(self, seconds: float) -> None:
        """Like `asyncio.sleep`, on this clock."""


# --- ingest -> recording ---------------------------------------------------------------------------------


class ArrivalTimes(Protocol):
    """When the media of one session happened, as far as who fetches it knows by now. Tracks are indices in the session's formats."""

    def arrival_ns(self, track: int, pts: int) -> int:
        """Boot time of a media time near the newest, by the minimum-delay estimate (`rtsp.arrival`)."""

    def last_ns(self, track: int) -> int:
        """When the track's newest unit arrived; 0: none has."""


@dataclass(frozen=True, slots=True)
class StreamSession:
    """One RTSP session of a receiver, from the answer to PLAY to its end."""

    receiver: uuid.UUID
    serial: int  # grows per receiver within a boot
    formats: tuple[TrackFormat, ...]
    started_ns: int  # CLOCK_BOOTTIME of the answer to PLAY
    times: ArrivalTimes = field(repr=False, compare=False)


class StreamSink(Protocol):
    """Gets everything of one receiver, on the loop, in decoding order per track. Must return quickly and never raise."""

    def session_opened(self, session: StreamSession) -> None: ...

    def format_changed(self, session: StreamSession, track: int, new: TrackFormat) -> None:
        """The parameter sets in force from the next access unit of `track` on."""

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        """What one sweep completed."""

    def sender_report(self, session: StreamSession, track: int, report: SenderReport) -> None: ...

    def interrupted(
        self, session: StreamSession, tracks: Sequence[int], cause: GapCause, from_ns: int, to_ns: int, detail: str
    ) -> None:
        """Within a session that goes on, nothing usable of `tracks` came between these boot times (packets lost, a pause, the rate
        cap). Called once the interval has ended, before the units that follow it."""

    def session_closed(self, session: StreamSession, cause: GapCause, detail: str) -> None:
        """The session ended; `detail` is one line for the operator, already free of secrets."""

    def no_session(self, receiver: uuid.UUID, cause: GapCause, detail: str, retry_in_s: float) -> None:
        """An attempt to set up a session failed."""


@dataclass(frozen=True, slots=True)
class HeldSession:
    """What a pre-buffer still holds of a session that has ended, from a key frame on; `formats` and the newest `reports` per track."""

    session: StreamSession
    formats: tuple[TrackFormat, ...]
    reports: tuple[SenderReport | None, ...]
    units: tuple[AccessUnit, ...]
    ended: GapCause  # why nothing followed


class PreBufferView(Protocol):
    """The closed GOPs of one receiver, and the open one, as a job that starts late reads them."""

    def since(self, boottime_ns: int) -> Iterable[AccessUnit]:
        """Units of the present session from the last key frame that arrived at or before `boottime_ns` (or the oldest held) up to now.

        Inside `StreamSink.units` that includes the units being handed over.
        """

    def earlier(self, boottime_ns: int) -> Sequence[HeldSession]:
        """The same of sessions before it, oldest first: those of which something arrived at or after `boottime_ns`."""

    def held_s(self) -> float:
        """How many seconds the closed GOPs held reach back."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What ingest needs to fetch one receiver's stream. `uri` carries no userinfo; credentials travel apart and are never logged."""

    receiver: uuid.UUID
    name: str  # for logs
    uri: str
    username: str = ""
    password: str = field(default="", repr=False)
    transport: str = "tcp"  # tcp, udp, rtsps, http, https
    options: tuple[tuple[str, str], ...] = ()  # appended to the URI verbatim and in order
    want_video: bool = True
    want_audio: bool = True
    want_metadata: bool = True
    allow_basic: bool = False
    certificates: CertificateCheck = field(default_factory=CertificateCheck)  # of an encrypted connection
    prebuffer_s: float = 0.0  # seconds asked for by jobs; the two newest closed GOPs are held regardless when > 0
    rate_cap_bps: int = 0  # 0: the default
    device: uuid.UUID | None = None  # whose stream it is, for `HealthSource`; None: the receiver stands for itself
    token: str = ""  # the receiver's, for events


class StreamSource(Protocol):
    """Implemented by ingest."""

    def start(self, request: StreamRequest, sink: StreamSink) -> None:
        """Fetches the stream until `stop`, reconnecting by itself. A second `start` of a receiver replaces its request."""

    def stop(self, receiver: uuid.UUID) -> None:
        """Tears the session down; what is complete is delivered first."""

    def prebuffer(self, receiver: uuid.UUID) -> PreBufferView | None: ...

    def prebuffer_fits(self, request: StreamRequest) -> str:
        """Why the request's pre-buffer would not fit into what is free now, its receiver's present share included; empty: it fits."""


# --- recording -> ring -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriterTrack:
    """One track of a writer. `track` is the recording's track (ONVIF), `format` the codec in force when the writer opens."""

    track: uuid.UUID
    format: TrackFormat
    name: str = ""  # ONVIF token, e.g. VIDEO001


@dataclass(frozen=True, slots=True)
class WriterSpec:
    """(recording, receiver, fixed set of tracks): what fills slots. MP4 track ids are 1..n in the order of `tracks`."""

    recording: uuid.UUID
    recording_name: str
    receiver: uuid.UUID
    source: str
    tracks: tuple[WriterTrack, ...]
    priority: int = 0  # of the job; at equal time the span of higher priority wins


@dataclass(frozen=True, slots=True)
class Anchor:
    """Ties a track's media time to boot time at a fragment's first sample of that track (format.md section 9)."""

    track: int  # index in WriterSpec.tracks
    media_time: int  # unwrapped RTP, the track's timescale
    boottime_ns: int  # arrival, minimum-delay estimate
    session: int  # session serial
    report: SenderReport | None = None


@dataclass(frozen=True, slots=True)
class SampleRun:
    """The samples of one track in one fragment, as the ring indexes them. Times are media times in the track's timescale."""

    track: int  # index in WriterSpec.tracks
    first_pts: int
    end_pts: int  # end of the last sample in output order
    count: int
    key_pts: tuple[int, ...] = ()  # of the random access points, in decoding order
    key_samples: tuple[int, ...] = ()  # their sample numbers in this fragment, from 0
    lead: int = (
        0  # how late the track begins in the slot's file, so that pictures decoded before time 0 have a decoding time
    )


class FragmentBody(Protocol):
    """`moof` + `mdat`, sizes known, bytes not yet copied. Implemented by `media.fragment.Fragment`."""

    @property
    def size(self) -> int:
        """Bytes that `write_into` will write."""

    @property
    def runs(self) -> Sequence[SampleRun]: ...

    @property
    def starts_with_key(self) -> bool:
        """Whether every video track of the fragment begins with a random access point."""

    @property
    def damaged(self) -> bool: ...

    def write_into(self, buffer: memoryview, sequence: int, media_base: Sequence[int]) -> None:
        """Copies the media once. `sequence` goes into `mfhd`; `media_base[track]` is subtracted from media times to get `tfdt`.

        Called in a disk thread: what it reads must not change after the fragment was appended.
        """


class DurableSink(Protocol):
    """Hears what became durable, in order, on the loop."""

    def durable(self, writer: Writer, through_ns: int, fragments: int) -> None:
        """Everything of `writer` that arrived up to boot time `through_ns` is on the medium."""

    def lost(self, writer: Writer, cause: GapCause, from_ns: int, to_ns: int) -> None:
        """Fragments that were appended could not be stored anywhere."""


class Writer(Protocol):
    """An open writer of the ring."""

    @property
    def spec(self) -> WriterSpec: ...

    def append(
        self,
        fragment: FragmentBody,
        run: int,
        anchors: Sequence[Anchor],
        arrived_from_ns: int,
        arrived_to_ns: int,
        *,
        urgent: bool = False,
    ) -> None:
        """Queues one fragment for the next commit (`urgent`: commit now). The fragment's bytes are released once durable.

        Raises `StoreUnavailable` when there is no healthy disk or the queue's bound is reached; nothing is queued then.
        """

    def close(self) -> None:
        """No more fragments; the slot stays open for a later writer of the same spec (format.md section 8)."""


class StoreUnavailable(Exception):
    """The ring cannot take data now; `cause` says why."""

    def __init__(self, cause: GapCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class MediaStore(Protocol):
    """Implemented by the ring (`ring.Ring` for one disk; a pool later)."""

    def open_writer(self, spec: WriterSpec, sink: DurableSink) -> Writer: ...

    def start_run(
        self,
        recording: uuid.UUID,
        job: uuid.UUID,
        source: str,
        cause: RunCause,
        tracks: Sequence[uuid.UUID],
        at_ns: int,
    ) -> int:
        """Opens a run at boot time `at_ns`, durable with the next commit. Returns its id."""

    def stop_run(self, run: int, at_ns: int) -> None: ...

    def note_gap(
        self, recording: uuid.UUID, tracks: Sequence[uuid.UUID], cause: GapCause, from_ns: int, to_ns: int | None
    ) -> None:
        """Ledgers a gap in boot time; `to_ns` None while it lasts (the next data of the track ends it).

        `to_ns` equal to `from_ns` ends a gap that lasts without data: the source turned out not to have that track.
        """

    def before_tick(self, feeder: Callable[[int], None]) -> None:
        """`feeder(now_ns)` is called on the loop at the start of every commit tick, to append what is due; once a second without a disk."""


# --- stored media, as configuration and clients deal with it --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retention:
    """What a recording may and must keep; 0: no such rule."""

    maximum_ns: int = 0
    minimum_ns: int = 0
    quota_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DeletedMedia:
    """What a deletion did: nothing of it can be read any more. `partial_bytes` keep their place until recycled (format.md, section 13)."""

    tracks: int  # that lost something
    freed_bytes: int
    partial_bytes: int


class MediaLocked(Exception):
    """Locked data cannot be deleted; `locks` are the ids of the locks that keep it."""

    def __init__(self, locks: tuple[int, ...]) -> None:
        super().__init__(f"kept by lock {', '.join(map(str, locks))}")
        self.locks = locks


class LockRefused(Exception):
    """The lock would leave too little to record into; the text has the figures."""


class MediaArchive(Protocol):
    """What is stored: implemented by the ring. Times are wall, nanoseconds since 1970. Raises `StoreUnavailable` without a disk."""

    async def delete(
        self,
        recording: uuid.UUID,
        *,
        track: uuid.UUID | None = None,
        run: int | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> DeletedMedia:
        """Durable when it returns. Unknown ids delete nothing. Raises `MediaLocked`."""

    async def lock(
        self,
        recording: uuid.UUID,
        start_ns: int,
        stop_ns: int,
        owner: str,
        reason: str,
        tracks: Sequence[uuid.UUID] = (),
    ) -> Lock:
        """Durable when it returns. Raises `LockRefused`."""

    async def unlock(self, lock: int) -> bool:
        """False: there is no such lock."""

    def locks(self) -> Sequence[Lock]: ...

    def locked(self, recording: uuid.UUID, track: uuid.UUID | None = None) -> tuple[int, ...]:
        """Ids of the locks that a deletion of it would meet."""

    def set_retention(self, recording: uuid.UUID, retention: Retention) -> None: ...

    def on_vanished(self, listener: Callable[[uuid.UUID, uuid.UUID, int, int], None]) -> None:
        """`listener(recording, track, start_ns, stop_ns)` for all media that can no longer be read, whatever the reason."""


# --- power, network --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CameraPlace:
    """Where a device is on the camera LAN. `port` is the label printed on the case."""

    mac: str
    ip: str
    port: str
    name: str = ""
    alone: bool = True  # the only device seen behind that port
    devices_behind: int = 0  # how many are; 0: not counted
    link_changed_ns: int = 0  # CLOCK_BOOTTIME of that port's newest change of carrier; 0: not known


class CameraLocator(Protocol):
    """Implemented by network."""

    def locate(self, address: str) -> CameraPlace | None:
        """The place of the device with this IP address or MAC, if known."""

    def protected_ports(self) -> frozenset[str]:
        """Labels of ports that carry the default route or the peer of a logged-in session."""


class LinkObserver(Protocol):
    """Implemented by ingest: hears what the network knows about a camera's silence. Called on the loop."""

    def link_lost(self, address: str, detail: str) -> None:
        """The switch port of the device with this IP address has no carrier: the gap's cause is LINK_DOWN until `link_back`."""

    def link_back(self, address: str) -> None: ...


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """What ingest knows of one device, for the camera rescue."""

    device: uuid.UUID
    name: str
    address: str
    last_byte_ns: int  # CLOCK_BOOTTIME; 0: never
    streaming: bool
    silence: GapCause | None  # set while not streaming
    fresh_sessions_without_media: int = 0
    last_media_ns: int = (
        0  # CLOCK_BOOTTIME; 0: never. Answers to requests are bytes too, and say nothing about pictures
    )
    ended: GapCause | None = None  # how the last session that had media ended; None while one has


class HealthSource(Protocol):
    """Implemented by ingest."""

    def health(self) -> Sequence[CameraHealth]: ...

    def rescue_began(self, device: uuid.UUID, detail: str) -> None:
        """The device's port is being cycled: the gap's cause from here on is PORT_CYCLED."""

    def power_lost(self, device: uuid.UUID, cause: GapCause, detail: str) -> None:
        """The device's port was switched off or failed: the gap's cause from here on is `cause`, until media comes."""


class PortPower(Protocol):
    """Implemented by power."""

    async def cycle(self, port: str, reason: str) -> None: ...

    def port_state(self, port: str) -> str:
        """One word for the operator: delivering, off, fault, ..."""


# --- events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One notification. `topic` is the ONVIF concrete topic path with prefixes, e.g. tns1:RecordingConfig/JobState."""

    topic: str
    source: tuple[tuple[str, str], ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    operation: str = ""  # Initialized, Changed, Deleted for properties; empty for non-property events
    utc_ns: int = 0  # wall, since 1970; 0: the broker stamps it
    boottime_ns: int = 0  # 0: the broker stamps it


class CameraEventSink(Protocol):
    """Implemented by events.CameraEvents. A voice is what brings a device's events: a receiver, or an event stream of its own."""

    def submit(self, voice: uuid.UUID, device: str, document: bytes, arrival_ns: int) -> None:
        """One metadata document; `device` empty: the receiver stands for itself."""

    def lost(self, voice: uuid.UUID) -> None:
        """The voice has ended: what it stated no longer holds."""

    def forget(self, device: str) -> None:
        """The device has been removed."""


@dataclass(frozen=True, slots=True)
class EventStreamRequest:
    """The event stream of one device, beside its media. Credentials are sent to `host` alone and are never logged."""

    device: str
    voice: uuid.UUID
    transport: str  # websocket, pullpoint
    host: str
    port: int
    encrypted: bool
    username: str = ""
    password: str = field(default="", repr=False)
    allow_basic: bool = False
    certificates: CertificateCheck = field(default_factory=CertificateCheck)  # of an encrypted connection


class EventStreams(Protocol):
    """Implemented by events.Listeners."""

    def listen(self, request: EventStreamRequest) -> None:
        """Until `stop`, reconnecting by itself. A second `listen` to a device replaces its request."""

    def stop(self, device: str) -> None: ...

    def state(self, device: str) -> str:
        """For the operator: "listening", or why not; empty where nothing was asked for."""


class EventSink(Protocol):
    """Implemented by events.Broker."""

    def publish(self, event: Event) -> None: ...
