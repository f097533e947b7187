"""How each device's events come: with the media of one of its receivers, by a stream of metadata alone, or by an event stream of its own.

A device whose events are wanted is heard even where nothing is recorded from it, and where it has no receiver at all (recorder page,
"Motion events"; VAPIX External IP Device, events enabled).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from recorderd.model.causes import GapCause
from recorderd.model.device import Device, EventTransport
from recorderd.model.objects import Objects
from recorderd.model.ports import (
    EventStreamRequest,
    EventStreams,
    StreamRequest,
    StreamSession,
    StreamSource,
)
from recorderd.model.receiver import Receiver
from recorderd.model.stream import AccessUnit, MediaKind, SenderReport, TrackFormat
from recorderd.recording.requests import event_stream_request, metadata_request


class Listening:
    """`receiver(device)` is the receiver that brings a device's metadata, if one can; `metadata(voice, device, document, arrival_ns)` and
    `lost(voice)` are told what a stream of metadata alone brings, whose voice is the device's `uid`."""

    def __init__(
        self,
        *,
        objects: Objects,
        source: StreamSource,
        streams: EventStreams,
        password: Callable[[str], str],
        receiver: Callable[[Device], Receiver | None],
        metadata: Callable[[uuid.UUID, str, bytes, int], None],
        lost: Callable[[uuid.UUID], None],
    ) -> None:
        self._devices = cast("dict[str, Device]", objects.tables["device"])
        self._source = source
        self._streams = streams
        self._password = password
        self._receiver = receiver
        self._metadata = metadata
        self._lost = lost
        self._asked: dict[str, StreamRequest | EventStreamRequest] = {}
        self._sinks: dict[str, MetadataSink] = {}

    def update(self, devices: Iterable[str]) -> None:
        """Brings the streams of these devices in line with what they are now."""
        for name in sorted(devices):
            device = self._devices.get(name)
            wanted = self._wanted(device) if device is not None else None
            asked = self._asked.get(name)
            if wanted == asked:
                continue
            if asked is not None:
                self._end(name, asked)
            if wanted is not None:
                self._begin(name, wanted)

    def state(self, device: Device) -> str:
        """For the operator; empty where a receiver's state says it."""
        if name := device.id if device.id in self._sinks else "":
            return self._sinks[name].state
        return self._streams.state(device.id)

    def _wanted(self, device: Device) -> StreamRequest | EventStreamRequest | None:
        if not device.events_enabled or not device.address:
            return None
        if device.event_transport is not EventTransport.METADATA:
            return event_stream_request(device, self._password(device.id))
        if self._receiver(device) is not None:
            return None
        return metadata_request(device, self._password(device.id))

    def _begin(self, name: str, wanted: StreamRequest | EventStreamRequest) -> None:
        self._asked[name] = wanted
        if isinstance(wanted, EventStreamRequest):
            self._streams.listen(wanted)
            return
        sink = self._sinks[name] = MetadataSink(name, self._metadata, self._lost)
        self._source.start(wanted, sink)

    def _end(self, name: str, asked: StreamRequest | EventStreamRequest) -> None:
        del self._asked[name]
        if isinstance(asked, EventStreamRequest):
            self._streams.stop(name)
            self._lost(asked.voice)
        else:
            del self._sinks[name]
            self._source.stop(asked.receiver)
            self._lost(asked.receiver)


class MetadataSink:
    """Implements `ports.StreamSink` for a stream of metadata alone."""

    def __init__(
        self,
        device: str,
        metadata: Callable[[uuid.UUID, str, bytes, int], None],
        lost: Callable[[uuid.UUID], None],
    ) -> None:
        self._device = device
        self._tell = metadata
        self._lost = lost
        self._tracks: frozenset[int] = frozenset()
        self._session: StreamSession | None = None
        self.state = "connecting"

    def session_opened(self, session: StreamSession) -> None:
        self._session = session
        self._tracks = frozenset(i for i, f in enumerate(session.formats) if f.kind is MediaKind.METADATA)
        self.state = "listening" if self._tracks else "the camera's stream has no metadata"

    def format_changed(self, session: StreamSession, track: int, new: TrackFormat) -> None:
        """Metadata has no format that could change."""

    def units(self, session: StreamSession, units: Sequence[AccessUnit]) -> None:
        if session is not self._session:
            return
        for unit in units:
            if unit.track in self._tracks:
                self._tell(session.receiver, self._device, unit.data, unit.arrival_ns)

    def sender_report(self, session: StreamSession, track: int, report: SenderReport) -> None:
        """Events count from their arrival."""

    def interrupted(
        self, session: StreamSession, tracks: Sequence[int], cause: GapCause, from_ns: int, to_ns: int, detail: str
    ) -> None:
        """A document that was lost is followed by the next one."""

    def session_closed(self, session: StreamSession, cause: GapCause, detail: str) -> None:
        if session is self._session:
            self._session = None
            self.state = detail or cause.name.lower()
            self._lost(session.receiver)

    def no_session(self, receiver: uuid.UUID, cause: GapCause, detail: str, retry_in_s: float) -> None:  # noqa: ARG002
        if self._session is None:
            self.state = detail or cause.name.lower()
