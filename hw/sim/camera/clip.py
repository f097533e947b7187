"""`ClipSource`: media encoded and packetised once, then played round and round by any number of sessions at next to no cost.

Each track loops by itself over its own length, so that its media time runs evenly through every turn. Pictures carry their number
(`COUNTER` digits, from 0 in each turn), and the clip keeps every coded access unit, so that a test can say which one it has got.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from hw.sim.camera import payload_audio, payload_video
from hw.sim.camera.encoder import VideoSettings, encode_all
from hw.sim.camera.nal import VideoCodec
from hw.sim.camera.picture import Scene
from hw.sim.camera.rtp import Media, Unit, build
from hw.sim.camera.sound import SoundEncoder, SoundSettings

COUNTER = 8  # digits of the number drawn into each picture


@dataclass(frozen=True, slots=True)
class PacketStyle:
    """Choices that cameras make differently when they packetise."""

    sets_in_sdp: bool = True
    sets_in_band: bool = True  # before each key picture
    aggregate: bool = True  # parameter sets in one aggregation packet
    sei_apart: bool = False  # SEI units as marked packets of their own
    extension: bytes = b""  # body of an RTP header extension on every packet
    latm: bool = False  # AAC as MP4A-LATM instead of AAC-hbr


@dataclass(frozen=True, slots=True)
class ClipTrack:
    """One track: `units` in sending order with times within a turn of `loop_ticks` (track clock) and `loop_s`; `coded` their contents.

    `coded` has for each unit its NAL units (in decoding order) or its one frame or image, exactly as the encoder gave them.
    """

    media: Media
    units: tuple[Unit, ...]
    coded: tuple[tuple[bytes, ...], ...]
    loop_ticks: int
    loop_s: float


@lru_cache(maxsize=32)
def video_clip(settings: VideoSettings, pictures: int, style: PacketStyle = PacketStyle()) -> ClipTrack:
    """Encodes `pictures` pictures. The last GOP may be short; every turn begins with an IDR picture (or, for MJPEG, any)."""
    interval = Fraction(payload_video.VIDEO_CLOCK) / Fraction(settings.fps)
    scene = Scene(width=settings.width, height=settings.height, texture=settings.texture)
    coded = encode_all(
        settings, (scene.draw(float(n / Fraction(settings.fps)), f"{n:0{COUNTER}d}") for n in range(pictures))
    )
    held = max((position - picture.index for position, picture in enumerate(coded)), default=0)
    units = []
    if settings.codec == "mjpeg":
        media = Media("video", "JPEG", 26, payload_video.VIDEO_CLOCK)
        codec = None
    else:
        codec = {"h264": VideoCodec.H264, "h265": VideoCodec.H265}[settings.codec]
        media = payload_video.video_media(codec, coded[0].units, 96, in_sdp=style.sets_in_sdp)
    for position, picture in enumerate(coded):
        if codec is None:
            payloads = payload_video.packetise_jpeg(picture.units[0], settings.width, settings.height)
        else:
            nals = [unit for unit in picture.units if style.sets_in_band or not codec.is_parameter_set(unit)]
            payloads = payload_video.packetise(codec, nals, aggregate=style.aggregate, sei_apart=style.sei_apart)
        units.append(
            build(
                media,
                payloads,
                ticks=round((picture.index + held) * interval),
                due_s=float(position / Fraction(settings.fps)),
                key=picture.key,
                extension=style.extension,
            )
        )
    loop = round(pictures * interval)
    coded_units = tuple(picture.units for picture in coded)
    return ClipTrack(media, tuple(units), coded_units, loop, float(pictures / Fraction(settings.fps)))


@lru_cache(maxsize=32)
def sound_clip(settings: SoundSettings, frames: int, style: PacketStyle = PacketStyle()) -> ClipTrack:
    """Encodes `frames` frames of the tone."""
    encoder = SoundEncoder(settings)
    media = payload_audio.audio_media(settings, encoder.config, 97, latm=style.latm)
    coded = [encoder.frame() for _ in range(frames)]
    scale = media.clock_rate // settings.rate if settings.codec == "opus" else 1
    samples = encoder.frame_samples * scale
    units = [
        build(
            media,
            payload_audio.packetise(settings, frame, latm=style.latm),
            ticks=n * samples,
            due_s=(n + 1) * samples / media.clock_rate,
            key=True,
            extension=style.extension,
        )
        for n, frame in enumerate(coded)
    ]
    length = frames * samples
    return ClipTrack(media, tuple(units), tuple((frame,) for frame in coded), length, length / media.clock_rate)


class ClipSource:
    """Plays clips. `alternates[track]` replaces a track's clip, and is replaced by it, at each commanded change of parameter sets.

    With `once` the playback ends after one turn and the connection stays open without media. `phase_s` delays every session's start, so
    that many cameras do not send in step.
    """

    def __init__(
        self,
        *tracks: ClipTrack,
        alternates: dict[int, ClipTrack] | None = None,
        once: bool = False,
        phase_s: float = 0.0,
    ) -> None:
        self.tracks = tracks
        self._alternates = dict(alternates or {})
        self.once, self.phase_s = once, phase_s
        self.changes = 0  # of parameter sets so far

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(track.media for track in self.tracks)

    def play(self, tracks: frozenset[int], wake: Callable[[], None]) -> _ClipPlayback:
        del wake  # there is always something to come
        return _ClipPlayback(self, tracks, asyncio.get_running_loop().time() + self.phase_s)

    def change_parameter_sets(self) -> None:
        """Sessions go over to the other clip with the next unit of each track that has one; every clip begins with a key picture."""
        if not self._alternates:
            raise ValueError("this source has no other parameter sets")
        now = list(self.tracks)
        for track, other in list(self._alternates.items()):
            now[track], self._alternates[track] = other, now[track]
        self.tracks = tuple(now)
        self.changes += 1


@dataclass(slots=True)
class _Cursor:
    clip: ClipTrack
    index: int = 0
    base_ticks: int = 0
    base_s: float = 0.0

    def due_s(self) -> float:
        return self.base_s + self.clip.units[self.index].due_s


class _ClipPlayback:
    def __init__(self, source: ClipSource, tracks: frozenset[int], zero_at: float) -> None:
        self.zero_at = zero_at
        self._source, self._changes = source, source.changes
        self._cursors = {track: _Cursor(source.tracks[track]) for track in tracks}
        self._heap = [(cursor.due_s(), track) for track, cursor in self._cursors.items()]
        heapq.heapify(self._heap)

    def due_s(self) -> float:
        return self.zero_at + self._heap[0][0] if self._heap else math.inf

    def take(self) -> tuple[int, Unit, int]:
        if self._changes != self._source.changes:
            self._change()
        _, track = self._heap[0]
        cursor = self._cursors[track]
        unit = cursor.clip.units[cursor.index]
        ticks = cursor.base_ticks + unit.ticks
        cursor.index += 1
        if cursor.index == len(cursor.clip.units):
            if self._source.once:
                heapq.heappop(self._heap)
                return track, unit, ticks
            cursor.index = 0
            cursor.base_ticks += cursor.clip.loop_ticks
            cursor.base_s += cursor.clip.loop_s
        heapq.heapreplace(self._heap, (cursor.due_s(), track))
        return track, unit, ticks

    def _change(self) -> None:
        self._changes = self._source.changes
        for track, cursor in self._cursors.items():
            clip = self._source.tracks[track]
            if clip is not cursor.clip:
                at_s = cursor.due_s()
                ticks = max(unit.ticks for unit in cursor.clip.units[: cursor.index]) if cursor.index else 0
                step = cursor.clip.loop_ticks // len(cursor.clip.units)
                cursor.base_ticks += ticks + step if cursor.index else 0
                cursor.base_s = at_s
                cursor.clip, cursor.index = clip, 0

    def close(self) -> None:
        self._heap.clear()


def camera_clip(
    video: VideoSettings,
    sound: SoundSettings | None = None,
    *,
    seconds: int = 8,
    style: PacketStyle = PacketStyle(),
) -> ClipSource:
    """A source of `seconds` of video, and of as much sound as fills whole frames."""
    tracks = [video_clip(video, round(seconds * video.fps), style)]
    if sound is not None:
        rate = 48_000 if sound.codec == "opus" else sound.rate
        frame = SoundEncoder(replace(sound)).frame_samples
        tracks.append(
            sound_clip(sound, max(1, seconds * (sound.rate if sound.codec != "opus" else rate) // frame), style)
        )
    return ClipSource(*tracks)
