"""`io.recorderd.Media`: exports and pictures, as raw bytes behind the reply."""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Iterator

from recorderd.control.dispatch import Dispatch, Upgrade
from recorderd.control.names import RecordingNames
from recorderd.control.peer import Peer
from recorderd.model.ports import StoreUnavailable
from recorderd.model.stream import MediaKind
from recorderd.protocol import media
from recorderd.protocol.errors import Conflict, InvalidArgument, LimitReached, NotFound, Unavailable
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339, to_rfc3339
from recorderd.recording.export_plan import WantedTrack
from recorderd.recording.exports import Exports, NothingRecorded, RunningExport, TooManyExports
from recorderd.ring.ledger.queries import Queries

MAX_WIDTH = 8192


class MediaFace:
    def __init__(self, *, exports: Exports, names: RecordingNames, queries: Queries) -> None:
        self._exports = exports
        self._names = names
        self._queries = queries

    def bind(self, table: Dispatch) -> None:
        table.upgrade(media.EXPORT, self._export)
        table.upgrade(media.SNAPSHOT, self._snapshot)

    async def _export(self, call: media.ExportCall, _peer: Peer) -> Upgrade[media.ExportReply]:
        start_ns, stop_ns = _time("start", call.start), _time("stop", call.stop)
        if stop_ns <= start_ns:
            raise InvalidArgument("stop", "a time after start", printable(call.stop))
        recording = self._names.get(call.recording)
        tracks = self._tracks(recording, call.tracks)
        ours, theirs = socket.socketpair() if call.hand_over else (None, None)
        try:
            with self._refusals(f"between {call.start} and {call.stop}"):
                running = await self._exports.export(
                    recording=recording,
                    tracks=tracks,
                    start_ns=start_ns,
                    stop_ns=stop_ns,
                    audio=call.audio,
                    fragmented=call.fragmented,
                    output=ours,
                )
        except BaseException:
            if theirs is not None:
                theirs.close()
            raise
        finally:
            if ours is not None:
                ours.close()
        return Upgrade(_reply(running), running, theirs)

    async def _snapshot(self, call: media.SnapshotCall, _peer: Peer) -> Upgrade[media.SnapshotReply]:
        if call.width is not None and not 16 <= call.width <= MAX_WIDTH:
            raise InvalidArgument("width", f"16 to {MAX_WIDTH} pixels", str(call.width))
        at_ns = None if call.at is None else _time("at", call.at)
        video = [t for t in self._tracks(self._names.get(call.recording), ()) if t.kind is MediaKind.VIDEO]
        if not video:
            raise Conflict(f"{printable(call.recording)} has no pictures")
        with self._refusals("there"):
            running = await self._exports.snapshot(track=video[0], at_ns=at_ns, width=call.width or 0)
        return Upgrade(media.SnapshotReply(at=to_rfc3339(running.at_ns)), running)

    @contextlib.contextmanager
    def _refusals(self, where: str) -> Iterator[None]:
        try:
            yield
        except NothingRecorded as nothing:
            raise Conflict(f"nothing is recorded {where}") from nothing
        except TooManyExports as many:
            raise LimitReached("exports and pictures at a time", self._exports.max_running) from many
        except StoreUnavailable as error:
            raise Unavailable(error.detail) from error
        except OSError as error:
            raise Unavailable(f"the disk cannot be read: {error.strerror or error}") from error

    def _tracks(self, recording: uuid.UUID, wanted: tuple[str, ...]) -> list[WantedTrack]:
        held = {entry.name: WantedTrack(entry.id, entry.name, entry.kind) for entry in self._queries.tracks(recording)}
        for name in wanted:
            if name not in held:
                raise NotFound("track", printable(name))
        return [track for name, track in held.items() if not wanted or name in wanted]


def _reply(running: RunningExport) -> media.ExportReply:
    plan = running.plan
    return media.ExportReply(
        start=to_rfc3339(plan.start_ns),
        stop=to_rfc3339(plan.stop_ns),
        estimated_bytes=plan.estimated_bytes,
        gaps=[
            media.Gap(
                track=gap.track,
                start=to_rfc3339(gap.start_ns),
                stop=to_rfc3339(gap.stop_ns),
                cause=gap.cause.name.lower().replace("_", " "),
            )
            for gap in plan.gaps
        ],
    )


def _time(argument: str, text: str) -> int:
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise InvalidArgument(argument, str(error), printable(text)) from error
