"""The chain from a camera's power to its durable media, walked link by link: what `why` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recorderd.control.cameras import Cameras, Seen
from recorderd.ingest.stream import StreamState, StreamStatus
from recorderd.model.causes import GapCause
from recorderd.power.service import PowerService
from recorderd.protocol import system
from recorderd.ring.ring import Ring, RingState

_UNREACHED = (GapCause.CAMERA_UNREACHABLE, GapCause.LINK_DOWN)
_RTSP = (
    GapCause.CAMERA_REFUSED,
    GapCause.UNAUTHORIZED,
    GapCause.NOT_FOUND,
    GapCause.CAMERA_ERROR,
    GapCause.CAMERA_CLOSED,
    GapCause.CAMERA_RESET,
)
_FRAMES = (GapCause.NO_MEDIA, GapCause.CAMERA_SILENT, GapCause.INCOMPATIBLE_STREAM, GapCause.RATE_CAP)
_PLAYING = (StreamState.STREAMING, StreamState.QUIET)
_PERSON_CAN = {
    GapCause.CAMERA_UNREACHABLE: "check the camera's cable and power, and its address: recorderctl devices show",
    GapCause.LINK_DOWN: "check the cable between the recorder and the camera",
    GapCause.CAMERA_REFUSED: "check the port in the camera's address, and that its RTSP service is on",
    GapCause.UNAUTHORIZED: "set the right user and password: recorderctl devices set NAME --user USER",
    GapCause.NOT_FOUND: "check the path and stream options in the camera's address",
    GapCause.CAMERA_ERROR: "look at the camera's own log; restarting the camera often helps",
    GapCause.NO_MEDIA: "restart the camera: recorderctl poe cycle PORT, where it hangs on a PoE port",
    GapCause.CAMERA_SILENT: "restart the camera: recorderctl poe cycle PORT, where it hangs on a PoE port",
    GapCause.INCOMPATIBLE_STREAM: "set the camera back to its former encoding, or record it into a new recording",
    GapCause.RATE_CAP: "lower the camera's bit rate, or raise limits.stream_kbit_s",
    GapCause.DISK_MISSING: "see recorderctl disks list; format a disk with recorderctl disks format",
    GapCause.DISK_ERROR: "see recorderctl disks health; replace the disk",
    GapCause.DISK_SLOW: "see recorderctl disks health; the disk is too slow or failing",
    GapCause.RING_FULL_OF_LOCKS: "remove locks that are no longer needed: recorderctl locks list",
    GapCause.PORT_POWER_OFF: "switch the port on: recorderctl poe on PORT",
    GapCause.PORT_FAULT: "check the cable and the camera on that port: recorderctl poe status",
}


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the parts of the answer come from. `power` is None on a machine without PoE."""

    cameras: Cameras
    ring: Ring
    power: PowerService | None

    def explain(self, seen: Seen) -> system.Explanation:
        links = list(self._links(seen))
        broken = next((link for link in links if link.state == "bad"), None)
        cause, _, _ = self.cameras.trouble(seen)
        if broken is not None and broken.name == "power":
            cause = GapCause.PORT_POWER_OFF
        return system.Explanation(
            camera=seen.name,
            links=links,
            broken=broken.name if broken is not None else None,
            recorder_does=self._recorder_does(seen, cause),
            person_can=_PERSON_CAN.get(cause, "") if cause is not None else "",
        )

    def _links(self, seen: Seen) -> Iterator[system.Link]:
        cause, detail, since_ns = self.cameras.trouble(seen)
        since = self.cameras.wall(since_ns) if since_ns else None
        yield self._power(seen)
        streams = seen.stream is not None and seen.stream.cause is None
        address = seen.stream.peer if seen.stream is not None else ""
        if streams:
            yield _good("address", f"{address or 'the camera'} answers")
        elif cause in _UNREACHED:
            yield system.Link(name="address", state="bad", detail=detail, since=since)
        else:
            yield system.Link(name="address", state="unknown", detail=address or "not reached yet")
        yield self._rtsp(seen, cause, detail, since)
        yield self._frames(seen, cause, detail, since)
        yield self._commit(seen, cause, detail)

    def _power(self, seen: Seen) -> system.Link:
        port = seen.device.poe_port if seen.device is not None else ""
        if not port or self.power is None:
            return system.Link(name="power", state="unknown", detail="not on a PoE port that the recorder knows")
        state = self.power.port_state(port)
        if state == "delivering":
            return _good("power", f"port {port} delivers")
        return system.Link(name="power", state="bad", detail=f"port {port}: {state}")

    def _rtsp(self, seen: Seen, cause: GapCause | None, detail: str, since: str | None) -> system.Link:
        stream = seen.stream
        if stream is None:
            return system.Link(name="rtsp", state="unknown", detail=detail or "not being fetched")
        if cause in _RTSP or _mute(stream, cause):
            return system.Link(name="rtsp", state="bad", detail=detail, since=since)
        if stream.state in _PLAYING:
            return _good("rtsp", f"session {stream.sessions} is playing")
        return system.Link(name="rtsp", state="unknown", detail=f"no session now ({stream.state.value})")

    def _frames(self, seen: Seen, cause: GapCause | None, detail: str, since: str | None) -> system.Link:
        if cause in _FRAMES and not _mute(seen.stream, cause):
            return system.Link(name="frames", state="bad", detail=detail, since=since)
        if seen.track is not None and seen.track.received_ns and seen.stream is not None and seen.stream.cause is None:
            rate = 1e9 / seen.track.interval_ns if seen.track.interval_ns else 0.0
            return _good("frames", f"{seen.track.format.codec.value}, {rate:.1f} a second")
        return system.Link(name="frames", state="unknown", detail="none")

    def _commit(self, seen: Seen, cause: GapCause | None, detail: str) -> system.Link:
        status = self.ring.status()
        if status.state is not RingState.HEALTHY:
            return system.Link(name="commit", state="bad", detail=status.detail or status.state.value)
        if not seen.due:
            return system.Link(name="commit", state="unknown", detail="nothing is to be recorded now")
        if self.cameras.reaches_disk(seen):
            return _good("commit", "pictures reach the disk")
        if seen.lane is not None and seen.lane.blocked is not None:
            return system.Link(name="commit", state="bad", detail=detail)
        return system.Link(
            name="commit", state="unknown", detail="nothing to commit" if cause is not None else "waiting"
        )

    def _recorder_does(self, seen: Seen, cause: GapCause | None) -> str:
        if cause is None:
            return ""
        if cause in (GapCause.DISK_MISSING, GapCause.DISK_ERROR, GapCause.DISK_SLOW):
            return "keeps the newest pictures in memory and tries the disk again every few seconds"
        if seen.stream is not None and seen.stream.state is StreamState.WAITING:
            return "tries again by itself, at growing intervals of at most 30 s (5 min after wrong credentials)"
        return "goes on trying"


def _mute(stream: StreamStatus | None, cause: GapCause | None) -> bool:
    """Whether the camera does not even answer requests; one that is silent within a session owes media."""
    return cause is GapCause.CAMERA_SILENT and (stream is None or stream.state not in _PLAYING)


def _good(name: str, detail: str) -> system.Link:
    return system.Link(name=name, state="good", detail=detail)
