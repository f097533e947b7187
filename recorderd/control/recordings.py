"""The face of `io.recorderd.Recordings`."""

from __future__ import annotations

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import page, refusing, wall_ns
from recorderd.model.recording import Recording, Track, TrackType
from recorderd.model.stream import ENCODINGS
from recorderd.model.timeline import Lock
from recorderd.protocol import recordings as protocol
from recorderd.protocol.errors import ConfirmationNeeded
from recorderd.protocol.message import Nothing
from recorderd.protocol.wall import to_rfc3339
from recorderd.recording.service import RecordingService
from recorderd.recording.target_exports import FILE_FORMATS

PAGE = 32


def track_info(track: Track) -> protocol.TrackInfo:
    return protocol.TrackInfo(
        token=track.token, id=str(track.id), configuration=track.configuration, encoding=track.encoding
    )


class RecordingsFace:
    def __init__(self, *, service: RecordingService) -> None:
        self._service = service

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.CREATE, refusing(self._create))
        table.reply(protocol.CONFIGURE, refusing(self._configure))
        table.reply(protocol.DELETE, refusing(self._delete))
        table.reply(protocol.CREATE_TRACK, refusing(self._create_track))
        table.reply(protocol.CONFIGURE_TRACK, refusing(self._configure_track))
        table.reply(protocol.DELETE_TRACK, refusing(self._delete_track))
        table.reply(protocol.GET_OPTIONS, refusing(self._get_options))
        table.reply(protocol.OVERRIDE_SEGMENT_DURATION, refusing(self._override))
        table.reply(protocol.DELETE_MEDIA, refusing(self._delete_media))
        table.reply(protocol.LOCK, refusing(self._lock))
        table.reply(protocol.UNLOCK, refusing(self._unlock))
        table.reply(protocol.LIST_LOCKS, refusing(self._list_locks))
        table.reply(protocol.GET_CAPABILITIES, refusing(self._get_capabilities))

    # --- recordings and tracks -----------------------------------------------------------------------------

    def _info(self, recording: Recording) -> protocol.RecordingInfo:
        override = self._service.segment_override(recording.token)
        return protocol.RecordingInfo(
            token=recording.token,
            id=str(recording.id),
            configuration=recording.configuration,
            tracks=[track_info(t) for t in recording.tracks],
            group=recording.group,
            is_recording=self._service.is_recording(recording.token),
            override=protocol.Override(segment_duration_ms=override[0], remaining_ms=override[1]) if override else None,
        )

    async def _list(self, call: protocol.ListCall, _: Peer) -> protocol.ListReply:
        recordings, further = page(self._service.list_recordings(), lambda r: r.token, call.after, PAGE)
        return protocol.ListReply(recordings=[self._info(r) for r in recordings], next=further)

    async def _get(self, call: protocol.RecordingCall, _: Peer) -> protocol.RecordingReply:
        return protocol.RecordingReply(recording=self._info(self._service.get_recording(call.recording)))

    async def _create(self, call: protocol.CreateCall, _: Peer) -> protocol.RecordingReply:
        recording = await self._service.create_recording(call.configuration, call.keys)
        return protocol.RecordingReply(recording=self._info(recording))

    async def _configure(self, call: protocol.ConfigureCall, _: Peer) -> Nothing:
        await self._service.set_recording(call.recording, call.configuration, call.keys)
        return Nothing()

    async def _delete(self, call: protocol.DeleteCall, _: Peer) -> Nothing:
        recording = self._service.get_recording(call.recording)
        if not call.confirm:
            name = recording.configuration.source.name or recording.token
            raise ConfirmationNeeded(
                f"This deletes recording {recording.token} ({name}) with all its video and its jobs."
            )
        await self._service.delete_recording(call.recording)
        return Nothing()

    async def _create_track(self, call: protocol.CreateTrackCall, _: Peer) -> protocol.TrackReply:
        return protocol.TrackReply(
            track=track_info(await self._service.create_track(call.recording, call.configuration))
        )

    async def _configure_track(self, call: protocol.ConfigureTrackCall, _: Peer) -> Nothing:
        await self._service.set_track(call.recording, call.track, call.configuration)
        return Nothing()

    async def _delete_track(self, call: protocol.DeleteTrackCall, _: Peer) -> Nothing:
        self._service.get_track(call.recording, call.track)
        if not call.confirm:
            raise ConfirmationNeeded(f"This deletes track {call.track} of {call.recording} with all its data.")
        await self._service.delete_track(call.recording, call.track)
        return Nothing()

    async def _get_options(self, call: protocol.RecordingCall, _: Peer) -> protocol.Options:
        jobs, tracks = self._service.spare(call.recording)
        return protocol.Options(
            spare_jobs=jobs,
            spare_tracks=sum(tracks.values()),
            spare_video=tracks[TrackType.VIDEO.value],
            spare_audio=tracks[TrackType.AUDIO.value],
            spare_metadata=tracks[TrackType.METADATA.value],
        )

    async def _override(self, call: protocol.OverrideCall, _: Peer) -> Nothing:
        self._service.override_segment_duration(call.recording, call.segment_duration_ms, call.expiration_ms)
        return Nothing()

    # --- stored media --------------------------------------------------------------------------------------

    async def _delete_media(self, call: protocol.DeleteMediaCall, _: Peer) -> protocol.DeleteMediaReply:
        start, stop = wall_ns(call.start, "start"), wall_ns(call.stop, "stop")
        self._service.get_recording(call.recording)
        if not call.confirm:
            what = f"run {call.run} of " if call.run is not None else f"track {call.track} of " if call.track else ""
            raise ConfirmationNeeded(
                f"This deletes the data of {what}{call.recording} from {call.start or 'its beginning'} to {call.stop or 'now'}."
            )
        done = await self._service.delete_media(call.recording, call.track, start, stop, call.run)
        return protocol.DeleteMediaReply(
            tracks=done.tracks, freed_bytes=done.freed_bytes, partial_bytes=done.partial_bytes
        )

    async def _lock(self, call: protocol.LockCall, peer: Peer) -> protocol.LockReply:
        start, stop = wall_ns(call.start, "start"), wall_ns(call.stop, "stop")
        assert start is not None
        assert stop is not None
        lock = await self._service.media.lock(call.recording, call.tracks, start, stop, f"uid {peer.uid}", call.reason)
        return protocol.LockReply(lock=_lock_info(lock, call.recording, tuple(call.tracks)))

    async def _unlock(self, call: protocol.UnlockCall, _: Peer) -> Nothing:
        await self._service.media.unlock(call.lock)
        return Nothing()

    async def _list_locks(self, call: protocol.ListLocksCall, _: Peer) -> protocol.ListLocksReply:
        return protocol.ListLocksReply(locks=[_lock_info(*held) for held in self._service.media.locks(call.recording)])

    async def _get_capabilities(self, _call: Nothing, _: Peer) -> protocol.Capabilities:
        limits = self._service.limits
        return protocol.Capabilities(
            dynamic_recordings=True,
            dynamic_tracks=True,
            encodings=list(dict.fromkeys(ENCODINGS.values())),
            max_rate_kbps=float(limits.max_rate_kbps),
            max_total_rate_kbps=float(limits.max_total_rate_kbps),
            max_recordings=limits.recordings,
            max_recording_jobs=limits.jobs,
            options=True,
            metadata_recording=True,
            export_file_formats=list(FILE_FORMATS),
            scheduled_recording=True,
            event_recording=True,
            before_event_limit_ms=limits.before_ms,
            after_event_limit_ms=limits.after_ms,
            target_formats=[],
            encryption_entry_limit=limits.encryption_entries,
            encryption_modes=[],
            override_segment_duration=False,
        )


def _lock_info(lock: Lock, recording: str, tracks: tuple[str, ...]) -> protocol.LockInfo:
    return protocol.LockInfo(
        id=lock.id,
        recording=recording,
        tracks=tracks,
        start=to_rfc3339(lock.start_ns),
        stop=to_rfc3339(lock.stop_ns),
        owner=lock.owner,
        reason=lock.reason,
    )
