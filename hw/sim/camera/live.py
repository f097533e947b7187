"""`LiveSource`: a small moving picture with the camera's clock drawn into it, and a beep once a second, encoded while it plays.

One encoder serves all sessions; it runs only while there are any. A new session gets a key frame at once, as from a real camera.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hw.sim.camera import payload_audio, payload_video
from hw.sim.camera.encoder import VideoEncoder, VideoSettings
from hw.sim.camera.nal import VideoCodec
from hw.sim.camera.picture import Scene
from hw.sim.camera.rtp import Media, Unit, build
from hw.sim.camera.sound import SoundEncoder, SoundSettings

VIDEO, AUDIO = 0, 1
CLOCK_CHARACTERS = 22
LEAST_WIDTH = 144  # samples that hold the clock


def clock_text(wall_ns: int) -> str:
    """The time drawn into the picture: UTC to the hundredth of a second."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{rest // 10_000_000:02d}"


class LiveSource:
    """`wall_ns` is the camera's own clock (nanoseconds since 1970), drawn into the picture.

    The other parameter sets are those of half the size, or of twice where half would be too narrow for the clock.
    """

    def __init__(
        self,
        video: VideoSettings | None = None,
        sound: SoundSettings | None = None,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._video = video or VideoSettings()
        if self._video.width < LEAST_WIDTH:
            raise ValueError(
                f"a picture of {self._video.width} samples is too narrow for the clock: at least {LEAST_WIDTH}"
            )
        self._sound = sound
        self._codec = {"h264": VideoCodec.H264, "h265": VideoCodec.H265}[self._video.codec]
        self.wall_ns = wall_ns
        self._other_size = False
        self._scene, self._encoder = self._start_encoder()
        first = VideoEncoder(self._video, low_delay=True)
        opening = first.encode(self._scene.draw(0.0, "")) or first.flush()
        media = [payload_video.video_media(self._codec, opening[0].units, 96)]
        self._sound_encoder: SoundEncoder | None = None
        if sound is not None:
            self._sound_encoder = SoundEncoder(sound)
            media.append(payload_audio.audio_media(sound, self._sound_encoder.config, 97))
        self._media = tuple(media)
        self._playing: set[_LivePlayback] = set()
        self._task: asyncio.Task[None] | None = None
        self.idle = asyncio.Event()  # set while the encoder rests
        self.idle.set()
        self._force_key = False
        self._zero_at: float | None = None  # loop time of media time zero
        self._pictures = 0  # encoded so far: media time of the video
        self._frames = 0  # likewise of the sound

    @property
    def media(self) -> tuple[Media, ...]:
        return self._media

    def play(self, tracks: frozenset[int], wake: Callable[[], None]) -> _LivePlayback:
        if self._zero_at is None:
            self._zero_at = asyncio.get_running_loop().time()
        playback = _LivePlayback(self._zero_at, tracks, wake, self._playing.discard)
        self._playing.add(playback)
        self._force_key = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)
            self.idle.clear()
        return playback

    def change_parameter_sets(self) -> None:
        self._other_size = not self._other_size
        self._scene, self._encoder = self._start_encoder()

    def _start_encoder(self) -> tuple[Scene, VideoEncoder]:
        settings = self._video
        if self._other_size:
            width, height = settings.width // 8 * 4, settings.height // 8 * 4
            if width < LEAST_WIDTH:
                width, height = 2 * settings.width, 2 * settings.height
            settings = replace(settings, width=width, height=height)
        scene = Scene(width=settings.width, height=settings.height, texture=settings.texture)
        return scene, VideoEncoder(settings, low_delay=True)

    async def _run(self) -> None:
        """Encodes in step with the loop's clock until the last session has gone; media time runs on without sessions too."""
        loop = asyncio.get_running_loop()
        interval_s, late_s = float(1 / self._video.fps), math.inf
        with ThreadPoolExecutor(1, thread_name_prefix="camera-encoder") as thread:
            while self._playing:
                zero_at = self._zero_at or 0.0
                if late_s > 1.0:  # a fresh start, or a machine that could not keep up: go on at the present
                    self._skip_to(loop.time() - zero_at, interval_s)
                picture_s, sound_s = self._pictures * interval_s, (self._frames + 1) * self._sound_frame_s()
                late_s = loop.time() - zero_at - min(picture_s, sound_s)
                await asyncio.sleep(max(0.0, -late_s))
                if picture_s <= sound_s:
                    force, self._force_key = self._force_key, False
                    self._hand_out(VIDEO, await loop.run_in_executor(thread, self._picture, force))
                else:
                    self._hand_out(AUDIO, await loop.run_in_executor(thread, self._sound_unit))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.idle.set()
        if not task.cancelled():
            task.result()  # an encoder's failure reaches the loop's exception handler

    def _sound_frame_s(self) -> float:
        encoder = self._sound_encoder
        return encoder.frame_samples / encoder.settings.rate if encoder else math.inf

    def _skip_to(self, now_s: float, interval_s: float) -> None:
        self._pictures = max(self._pictures, math.ceil(now_s / interval_s))
        if self._sound_encoder:
            self._frames = max(self._frames, math.ceil(now_s / self._sound_frame_s()))

    def _picture(self, force_key: bool) -> list[Unit]:
        interval_s = float(1 / self._video.fps)
        drawn = self._scene.draw(self._pictures * interval_s, clock_text(self.wall_ns()))
        ticks = round(self._pictures * payload_video.VIDEO_CLOCK / self._video.fps)
        self._pictures += 1
        return [
            build(
                self._media[VIDEO],
                payload_video.packetise(self._codec, coded.units),
                ticks=ticks,
                due_s=0.0,
                key=coded.key,
            )
            for coded in self._encoder.encode(drawn, force_key=force_key)
        ]

    def _sound_unit(self) -> list[Unit]:
        if self._sound is None or self._sound_encoder is None:
            return []
        payloads = payload_audio.packetise(self._sound, self._sound_encoder.frame())
        ticks = self._frames * self._sound_encoder.frame_samples
        self._frames += 1
        return [build(self._media[AUDIO], payloads, ticks=ticks, due_s=0.0, key=True)]

    def _hand_out(self, track: int, units: list[Unit]) -> None:
        for playback in list(self._playing):
            playback.push(track, units)


class _LivePlayback:
    """Units wait here until the session takes them; a session that does not is bounded, and starts over at a key frame."""

    LIMIT = 200  # units

    def __init__(
        self,
        zero_at: float,
        tracks: frozenset[int],
        wake: Callable[[], None],
        closed: Callable[[_LivePlayback], None],
    ) -> None:
        self.zero_at = zero_at
        self._tracks, self._wake, self._closed = tracks, wake, closed
        self._waiting: deque[tuple[int, Unit]] = deque()
        self._need_key = VIDEO in tracks

    def push(self, track: int, units: list[Unit]) -> None:
        if track not in self._tracks:
            return
        if len(self._waiting) > self.LIMIT:
            self._waiting.clear()
            self._need_key = VIDEO in self._tracks
        for unit in units:
            if self._need_key and not (track == VIDEO and unit.key):
                continue
            self._need_key = False
            self._waiting.append((track, unit))
        if self._waiting:
            self._wake()

    def due_s(self) -> float:
        return 0.0 if self._waiting else math.inf

    def take(self) -> tuple[int, Unit, int]:
        track, unit = self._waiting.popleft()
        return track, unit, unit.ticks

    def close(self) -> None:
        self._closed(self)
