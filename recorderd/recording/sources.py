"""Which streams are fetched: asks ingest for exactly the receivers that something needs, and only when a request has changed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import cast

from recorderd.model.device import Device, EventTransport
from recorderd.model.objects import Objects
from recorderd.model.ports import Clock, StreamRequest, StreamSink, StreamSource
from recorderd.model.receiver import Receiver, ReceiverMode
from recorderd.model.streamoptions import prebuffer_advice, prebuffer_faults
from recorderd.recording.intake import Stream
from recorderd.recording.requests import device_of, metadata_alone, stream_request


class Sources:
    """The streams of all receivers. `demand` says how a receiver is needed: seconds of pre-buffer, or None when no job needs it."""

    def __init__(
        self,
        *,
        objects: Objects,
        source: StreamSource,
        clock: Clock,
        password: Callable[[str], str],
        demand: Callable[[str], float | None],
    ) -> None:
        self.devices: dict[str, str] = {}  # receiver -> id of its device
        self._receivers = cast("dict[str, Receiver]", objects.tables["receiver"])
        self._devices = cast("dict[str, Device]", objects.tables["device"])
        self._source = source
        self.sink: StreamSink | None = None  # set once, before the first `update`
        self.changed: Callable[[uuid.UUID], None] = lambda _: None  # a stream is asked for, or no longer
        self.ended: Callable[[uuid.UUID], None] = lambda _: None  # a stream was asked for and no longer is
        self._clock = clock
        self._password = password
        self._demand = demand
        self._requests: dict[str, StreamRequest] = {}
        self.streams: dict[str, Stream] = {}
        self.by_id: dict[uuid.UUID, Stream] = {}
        self.requests_made = 0

    def device(self, receiver: Receiver) -> Device | None:
        return device_of(receiver.configuration, self._devices.values(), self._devices)

    def receivers_of(self, device: str) -> list[str]:
        """Tokens of the receivers that fetch from this device, or did when they were last looked at."""
        found = []
        for receiver in self._receivers.values():
            now = self.device(receiver)
            if (now is not None and now.id == device) or self.devices.get(receiver.token) == device:
                found.append(receiver.token)
        return found

    def mode(self, token: str) -> ReceiverMode:
        receiver = self._receivers.get(token)
        return receiver.configuration.mode if receiver is not None else ReceiverMode.NEVER_CONNECT

    def uri(self, token: str) -> str:
        receiver = self._receivers.get(token)
        return receiver.configuration.media_uri if receiver is not None else ""

    def update(self, tokens: Iterable[str]) -> None:
        """Brings ingest in line for these receivers."""
        for token in tokens:
            receiver = self._receivers.get(token)
            if receiver is None:
                self._forget(token)
                continue
            stream = self.streams.get(token)
            if stream is None:
                stream = self.streams[token] = self.by_id[receiver.id] = Stream(receiver.id, token)
            device = self.device(receiver)
            self.devices[token] = device.id if device is not None else ""
            request = self._wanted(receiver, device)
            if request == self._requests.get(token):
                continue
            self.requests_made += 1
            if request is None:
                del self._requests[token]
                stream.requested = False
                self._source.stop(receiver.id)
                stream.close(None, "")
                self.ended(receiver.id)
            else:
                self._requests[token] = request
                if not stream.requested:
                    stream.requested = True
                    stream.requested_ns = self._clock.boottime_ns()
                assert self.sink is not None
                self._source.start(request, self.sink)
            self.changed(receiver.id)

    def prebuffer_warnings(self, tokens: Iterable[str], seconds: float) -> list[str]:
        """What would not fit, or whose GOPs have no known length, if jobs with this Before listened to these receivers, whether or not they
        do now."""
        found: list[str] = []
        for token in tokens:
            receiver = self._receivers.get(token)
            if receiver is None or not receiver.configuration.media_uri:
                continue
            longest_s = max(seconds, self._demand(token) or 0.0)
            options = [(option.name, option.value) for option in receiver.configuration.options]
            if longest_s > 0:
                said = (*(text for _, text in prebuffer_faults(options)), *prebuffer_advice(options))
                found.extend(f"{token}: {text}" for text in said)
            device = self.device(receiver)
            request = stream_request(receiver, device, "", prebuffer_s=longest_s, want_metadata=False)
            if detail := self._source.prebuffer_fits(request):
                found.append(f"{token}: {detail}")
        return found

    def _wanted(self, receiver: Receiver, device: Device | None) -> StreamRequest | None:
        configuration = receiver.configuration
        if configuration.mode is ReceiverMode.NEVER_CONNECT or not configuration.media_uri:
            return None
        prebuffer_s = self._demand(receiver.token)
        listens = device is not None and self._brings_events(device, receiver)
        needed = prebuffer_s is not None or configuration.mode is ReceiverMode.ALWAYS_CONNECT
        if not needed and not listens:
            return None
        password = self._password(device.id) if device is not None else ""
        request = stream_request(receiver, device, password, prebuffer_s=prebuffer_s or 0.0, want_metadata=listens)
        return request if needed else metadata_alone(request)

    def _brings_events(self, device: Device, receiver: Receiver) -> bool:
        wanted = device.events_enabled and device.event_transport is EventTransport.METADATA
        return wanted and self.listener(device) is receiver

    def listener(self, device: Device) -> Receiver | None:
        """The receiver whose stream brings a device's events where no job asks for them: its first with a URI."""
        for receiver in self._receivers.values():
            usable = receiver.configuration.media_uri and receiver.configuration.mode is not ReceiverMode.NEVER_CONNECT
            if usable and self.device(receiver) == device:
                return receiver
        return None

    def _forget(self, token: str) -> None:
        self.devices.pop(token, None)
        stream = self.streams.pop(token, None)
        if stream is None:
            return
        if self._requests.pop(token, None) is not None:
            self.requests_made += 1
            self._source.stop(stream.receiver)
            self.ended(stream.receiver)
        self.by_id.pop(stream.receiver, None)
