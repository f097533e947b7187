"""`RecordingService`: everything that can be asked of recordings, jobs, receivers, devices, schedules and groups.

The faces (Varlink now, SOAP and VAPIX later) call this and nothing below it. Every change is durable when its call returns; every refusal
is a `model.faults.Fault`. All methods run on the loop.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import TypeVar

from recorderd.events.broker import Broker
from recorderd.model.destination import Destination
from recorderd.model.device import Device, DeviceSettings, EventTransport
from recorderd.model.faults import CannotDelete, NoRecordingJob
from recorderd.model.job import JobRequest, JobState, RecordingJob
from recorderd.model.limits import Limits
from recorderd.model.objects import Change, Draft, Objects
from recorderd.model.ports import (
    CameraEventSink,
    Clock,
    DeletedMedia,
    EventStreams,
    MediaArchive,
    MediaStore,
    Retention,
    StreamSource,
)
from recorderd.model.receiver import Receiver, ReceiverConfiguration, ReceiverState
from recorderd.model.recording import Recording, RecordingConfiguration, Track, TrackConfiguration
from recorderd.recording import announce, shortform
from recorderd.recording.calendars import Calendars
from recorderd.recording.deletions import Deletions
from recorderd.recording.encodings import Encodings
from recorderd.recording.engine import Engine
from recorderd.recording.groups import Groups
from recorderd.recording.listening import Listening
from recorderd.recording.media import StoredMedia
from recorderd.recording.operations import Operations
from recorderd.recording.overrides import Overrides
from recorderd.recording.rules import destinations, devices, jobs, receivers, recordings, restore
from recorderd.recording.shortform import Added, Addition
from recorderd.recording.timetable import Timetable
from recorderd.recording.transactions import StateStore, Transactions

T = TypeVar("T")
Rule = Callable[[Draft], T]

MAX_SLEEP_S = 1.0  # between looks at the wall clock, which may step


class RecordingService:
    """`store`, `archive` and `source` are the neighbours' (`model.ports`); `time_zone` gives the recorder's, an IANA name."""

    def __init__(
        self,
        *,
        state: StateStore,
        store: MediaStore,
        archive: MediaArchive,
        source: StreamSource,
        broker: Broker,
        clock: Clock,
        camera_events: CameraEventSink,
        event_streams: EventStreams,
        limits: Limits | None = None,
        time_zone: Callable[[], str] = lambda: "UTC",
        tick_ns: int = 1_000_000_000,
        media_ram_bytes: int = 512 << 20,
    ) -> None:
        self.limits = limits or Limits()
        self.objects = state.load()
        self.broker = broker
        self._clock = clock
        self._state = state
        self._camera_events = camera_events
        self._time_zone = time_zone
        self._wake = asyncio.Event()
        self._encodings = Encodings(wake=self._wake.set)
        self.timetable = Timetable(objects=self.objects, clock=clock, time_zone=time_zone())
        self.engine = Engine(
            objects=self.objects,
            store=store,
            source=source,
            events=broker,
            clock=clock,
            timetable=self.timetable,
            password=lambda device: state.secret("device", device, "password") or "",
            properties=broker.properties,
            note_encoding=self._encodings.note,
            metadata=self._take_metadata,
            camera_lost=camera_events.lost,
            tick_ns=tick_ns,
            media_ram_bytes=media_ram_bytes,
        )
        self._listening = Listening(
            objects=self.objects,
            source=source,
            streams=event_streams,
            password=lambda device: state.secret("device", device, "password") or "",
            receiver=self.engine.sources.listener,
            metadata=camera_events.submit,
            lost=camera_events.lost,
        )
        self._transactions = Transactions(objects=self.objects, state=state, applied=self._applied)
        self._overrides = Overrides(clock=clock)
        self.media = StoredMedia(archive=archive, broker=broker, objects=self.objects)
        self.operations = Operations(broker=broker, limits=self.limits)
        self.deletions = Deletions(
            objects=self.objects,
            media=self.media,
            operations=self.operations,
            forget=self._forget_deletion,
            clock=clock,
        )
        self.calendars = Calendars(
            transactions=self._transactions, timetable=self.timetable, clock=clock, limits=self.limits
        )
        self.groups = Groups(
            transactions=self._transactions,
            media=self.media,
            deletions=self.deletions,
            sources=self.engine.sources,
            limits=self.limits,
        )
        self.on_change: list[Callable[[], None]] = []  # called after every change of the configuration
        self._archive = archive
        broker.listen(self.engine.take_event)
        store.before_tick(self.engine.tick)

    # --- life ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Starts what is configured and keeps it in step with clocks, events and schedules until cancelled; then ends all runs."""
        for recording in self._read().recordings:
            self._archive.set_retention(recording.id, retention_of(recording.configuration))
        self.engine.start()
        self._listening.update(d.id for d in self._read().devices)
        deletions = asyncio.get_running_loop().create_task(self.deletions.run(), name="deletions")
        try:
            while not deletions.done():
                self._wake.clear()
                await self._encodings.store(self._transactions)
                self.timetable.in_zone(self._time_zone())
                self.engine.advance()
                self._overrides.expire()
                for event in self.timetable.changes():
                    self.broker.publish(event)
                await self._sleep()
            deletions.result()  # an exception, or it would not be done
        finally:
            self.engine.stop()
            deletions.cancel()
            await asyncio.wait([deletions])
            await self.operations.close()

    async def _sleep(self) -> None:
        """Until something is due, at most a second: only looking shows that the wall clock has stepped."""
        deadline = self.engine.next_deadline_ns()
        seconds = MAX_SLEEP_S
        if deadline is not None:
            seconds = min(seconds, max(0.0, (deadline - self._clock.boottime_ns()) / 1e9))
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _applied(self, before: Objects, change: Change) -> None:
        for token in change.touched("recording"):
            self._overrides.remove(token)
            recording = self._read().recordings.get(token)
            if recording is not None:
                self._archive.set_retention(recording.id, retention_of(recording.configuration))
        for event in announce.events_of(before, self.objects, change):  # the cause before its effects
            self.broker.publish(event)
        self.engine.apply(change)
        self._listening.update(change.concerned("device"))
        if change.touched("receiver"):
            self._listening.update(d.id for d in self._read().devices if d.events_enabled)
        for listener in self.on_change:
            listener()
        self._wake.set()

    def _take_metadata(self, receiver: uuid.UUID, document: bytes, arrival_ns: int) -> None:
        """A device that is heard by an event stream of its own is not heard twice."""
        stream = self.engine.sources.by_id.get(receiver)
        name = self.engine.sources.devices.get(stream.token, "") if stream is not None else ""
        device = self._read().devices.get(name) if name else None
        if device is None or not device.events_enabled or device.event_transport is EventTransport.METADATA:
            self._camera_events.submit(receiver, name, document, arrival_ns)

    def _read(self) -> Draft:
        return self._transactions.read()

    async def _forget_deletion(self, token: str) -> None:
        await self.change(lambda d: d.deletions.delete(token))

    async def change(self, rule: Rule[T]) -> T:
        """Several steps as one change: for short forms that create a device, a recording and a job at once."""
        return await self._transactions.run(rule)

    def has_secret(self, kind: str, key: str, name: str) -> bool:
        """Whether it is set: all that is ever told of a secret."""
        return self._state.secret(kind, key, name) is not None

    async def restore(self, objects: Objects) -> int:
        """A mirrored configuration, where there is none. Returns the number of objects."""
        return await self.change(lambda d: restore.restore(d, objects))

    async def add(self, wanted: Addition) -> Added:
        """From a URL to a working recording, as one change."""
        return await self.change(lambda d: shortform.add(d, self.limits, wanted))

    # --- devices -------------------------------------------------------------------------------------------

    def list_devices(self) -> list[Device]:
        return list(self._read().devices)

    def get_device(self, device: str) -> Device:
        return devices.get(self._read(), device)

    async def create_device(self, device: str, settings: DeviceSettings) -> Device:
        return await self.change(lambda d: devices.create(d, self.limits, device, settings))

    async def update_device(self, device: str, settings: DeviceSettings) -> Device:
        return await self.change(lambda d: devices.update(d, self.limits, device, settings))

    async def replace_device(self, device: str, settings: DeviceSettings, until: str) -> Device:
        return await self.change(lambda d: devices.replace_hardware(d, self.limits, device, settings, until))

    async def delete_device(self, device: str) -> None:
        await self.change(lambda d: devices.delete(d, device))
        self._camera_events.forget(device)

    def events_state(self, device: str) -> str:
        """How a device's events come along: "listening", or why not; empty where a receiver brings them, or nobody listens."""
        return self._listening.state(devices.get(self._read(), device))

    # --- receivers -----------------------------------------------------------------------------------------

    def list_receivers(self) -> list[Receiver]:
        return list(self._read().receivers)

    def get_receiver(self, token: str) -> Receiver:
        return receivers.get(self._read(), token)

    def receiver_state(self, token: str) -> tuple[ReceiverState, str, str]:
        """State, why there is no session, id of the device."""
        receivers.get(self._read(), token)
        stream = self.engine.sources.streams.get(token)
        device = self.engine.sources.devices.get(token, "")
        if stream is None:
            return ReceiverState.NOT_CONNECTED, "", device
        return stream.state, stream.detail, device

    async def create_receiver(self, configuration: ReceiverConfiguration) -> Receiver:
        return await self.change(lambda d: receivers.create(d, self.limits, configuration))

    async def configure_receiver(self, token: str, configuration: ReceiverConfiguration) -> Receiver:
        return await self.change(lambda d: receivers.configure(d, self.limits, token, configuration))

    async def set_receiver_mode(self, token: str, mode: str) -> Receiver:
        return await self.change(lambda d: receivers.set_mode(d, token, mode))

    async def delete_receiver(self, token: str) -> None:
        await self.change(lambda d: receivers.delete(d, token))

    # --- recordings and tracks -----------------------------------------------------------------------------

    def list_recordings(self) -> list[Recording]:
        return list(self._read().recordings)

    def get_recording(self, token: str) -> Recording:
        return recordings.get(self._read(), token)

    async def create_recording(
        self, configuration: RecordingConfiguration, keys: dict[str, str] | None = None
    ) -> Recording:
        return await self.change(lambda d: recordings.create(d, self.limits, configuration, keys))

    async def set_recording(
        self, token: str, configuration: RecordingConfiguration, keys: dict[str, str] | None = None
    ) -> Recording:
        return await self.change(lambda d: recordings.configure(d, self.limits, token, configuration, keys))

    async def delete_recording(self, token: str) -> None:
        """Refused while data of it is locked; data that an export reads goes when the export has ended (5.21)."""
        recording = recordings.get(self._read(), token)
        self.media.refuse_locked(recording.id)
        await self.change(lambda d: recordings.delete(d, token))
        await self.deletions.take_up()

    async def delete_media(
        self, recording: str, track: str | None, start_ns: int | None, stop_ns: int | None, run: int | None = None
    ) -> DeletedMedia:
        """Data of a recording, of one track or of one run, in a range of wall time. Refused while it is locked or an export reads it:
        the reply says what was freed, so it cannot wait as the deletion of a recording does."""
        export = self.operations.reading(recordings.get(self._read(), recording).id)
        if export is not None:
            raise CannotDelete(f"{export.token} reads it; wait for its end, or stop it", argument="recording")
        return await self.media.delete_range(recording, track, start_ns, stop_ns, run)

    async def create_track(self, recording: str, configuration: TrackConfiguration) -> Track:
        return await self.change(lambda d: recordings.create_track(d, self.limits, recording, configuration))

    def get_track(self, recording: str, token: str) -> Track:
        return recordings.get_track(self._read(), recording, token)

    async def set_track(self, recording: str, token: str, configuration: TrackConfiguration) -> Track:
        return await self.change(lambda d: recordings.configure_track(d, self.limits, recording, token, configuration))

    async def delete_track(self, recording: str, token: str) -> None:
        held = recordings.get(self._read(), recording)
        track = recordings.get_track(self._read(), recording, token)
        self.media.refuse_locked(held.id, track.id)
        await self.change(lambda d: recordings.delete_track(d, recording, token))
        await self.deletions.take_up()

    def spare(self, recording: str) -> tuple[int, dict[str, int]]:
        """GetRecordingOptions: spare jobs, and spare tracks by type."""
        draft = self._read()
        held = recordings.get(draft, recording)
        tracks = {kind.value: recordings.spare_tracks(held, self.limits, kind) for kind in recordings.FIRST_TRACKS}
        return jobs.spare(draft, self.limits, recording), tracks

    def is_recording(self, recording: str) -> bool:
        return self.engine.publisher.is_recording(recording)

    def override_segment_duration(self, recording: str, duration_ms: int, expiration_ms: int) -> None:
        recordings.get(self._read(), recording)
        self._overrides.put(recording, duration_ms, expiration_ms, self.limits.override_ms)

    def segment_override(self, recording: str) -> tuple[int, int] | None:
        """(segment duration, remaining time), both in ms, while an override is in force."""
        return self._overrides.get(recording)

    # --- jobs ----------------------------------------------------------------------------------------------

    def list_jobs(self) -> list[RecordingJob]:
        return list(self._read().jobs)

    def get_job(self, token: str) -> RecordingJob:
        return jobs.get(self._read(), token)

    async def create_job(self, request: JobRequest) -> RecordingJob:
        return await self.change(lambda d: jobs.create(d, self.limits, request))

    async def set_job(self, token: str, request: JobRequest) -> RecordingJob:
        return await self.change(lambda d: jobs.configure(d, self.limits, token, request))

    async def set_job_mode(self, token: str, mode: str) -> RecordingJob:
        return await self.change(lambda d: jobs.set_mode(d, token, mode))

    def prebuffer_warnings(self, job: str) -> list[str]:
        """Which pre-buffers of a job's Before do not fit into `limits.media_ram`, as far as can be told before pictures come."""
        configuration = jobs.get(self._read(), job).configuration
        if configuration.event_filter is None:
            return []
        receivers_of = dict.fromkeys(s.token for s in configuration.sources)
        return self.engine.sources.prebuffer_warnings(receivers_of, configuration.event_filter.before_ms / 1000)

    async def delete_job(self, token: str) -> None:
        await self.change(lambda d: jobs.delete(d, token))

    def job_state(self, token: str) -> JobState:
        jobs.get(self._read(), token)
        runtime = self.engine.runtime(token)
        if runtime is not None:
            self.engine.publisher.refresh(runtime)
        state = self.engine.publisher.state(token)
        if state is None:
            raise NoRecordingJob(f"recording job {token!r} has not begun to work", argument="job", got=token)
        return state

    # --- destinations --------------------------------------------------------------------------------------

    def list_destinations(self) -> list[Destination]:
        return list(self._read().destinations)

    def get_destination(self, token: str) -> Destination:
        return destinations.get(self._read(), token)

    async def create_destination(self, destination: Destination, secrets: dict[str, str]) -> Destination:
        return await self.change(lambda d: destinations.create(d, self.limits, destination, secrets))

    async def set_destination(self, destination: Destination, secrets: dict[str, str]) -> Destination:
        destinations.get(self._read(), destination.token)
        return await self.change(lambda d: destinations.put(d, self.limits, destination, secrets))

    async def delete_destination(self, token: str) -> None:
        await self.change(lambda d: destinations.delete(d, token))


def retention_of(configuration: RecordingConfiguration) -> Retention:
    return Retention(
        configuration.maximum_retention_ms * 1_000_000,
        configuration.minimum_retention_ms * 1_000_000,
        configuration.quota_bytes,
    )
