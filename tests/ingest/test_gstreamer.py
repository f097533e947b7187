"""Sessions against GStreamer's RTSP server: what it serves arrives bit by bit."""

from __future__ import annotations

import asyncio
import functools
import uuid
from pathlib import Path

import av
import numpy as np
import pytest

from recorderd.ingest.service import Ingest
from recorderd.media import h264
from recorderd.model.causes import GapCause
from recorderd.model.clock import SystemClock
from recorderd.model.media_ram import MediaRam
from recorderd.model.ports import StreamRequest
from recorderd.model.stream import Codec
from tests.ingest.gather import Gather
from tests.rtsp import gst_server

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(not gst_server.available(), reason="GStreamer's RTSP server is not installed"),
]

FRAMES = 75
FPS = 25


def make_clip(path: Path, codec: str, options: dict[str, str]) -> None:
    """A moving picture and a tone, in a file that GStreamer demuxes."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "mono"
        for number in range(FRAMES):
            luma = np.add.outer(np.arange(240), np.arange(320)) + 5 * number
            planes = np.vstack([luma % 256, np.full((120, 320), 128)]).astype(np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(video.encode(None))
        tone = (np.sin(np.arange(48000 * FRAMES // FPS) * 0.06) * 8000).astype(np.int16)
        for start in range(0, len(tone), 1024):
            piece = tone[start : start + 1024].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


@functools.cache
def packets(path: Path, kind: str) -> list[tuple[bool, bytes]]:
    """(key, bytes) of the clip's packets, without a demuxer's own idea of parameter sets."""
    with av.open(str(path)) as container:
        return [(packet.is_keyframe, bytes(packet)) for packet in container.demux(**{kind: 0}) if packet.size]


def test_h264_and_aac_arrive_bit_by_bit(tmp_path):
    clip = tmp_path / "clip.mp4"
    make_clip(clip, "libx264", {"preset": "ultrafast", "x264-params": "keyint=25:scenecut=0:bframes=0"})
    line = (
        f"( filesrc location={clip} ! qtdemux name=d"
        " d.video_0 ! queue ! h264parse ! rtph264pay config-interval=-1 name=pay0 pt=96"
        " d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
    )
    with gst_server.serve({"/clip": line}) as base:
        sink = asyncio.run(fetch(f"{base}/clip"))
    session = sink.sessions[0]
    assert [form.codec for form in session.formats] == [Codec.H264, Codec.AAC]
    video, audio = session.formats
    assert (video.width, video.height, audio.sample_rate, audio.channels) == (320, 240, 48000, 1)
    sps, pps = h264.parse_avcc(video.config)
    prefix = b"".join(len(nal).to_bytes(4, "big") + nal for nal in (*sps, *pps))
    sent = [prefix + data if key else data for key, data in packets(clip, "video")]
    assert [unit.data for unit in sink.tracks[0]] == sent
    assert [unit.key for unit in sink.tracks[0]] == [key for key, _ in packets(clip, "video")]
    # GStreamer serves neither the encoder's priming frame nor the last one (ffmpeg gets as many).
    assert [unit.data for unit in sink.tracks[1]] == [data for _, data in packets(clip, "audio")][1:-1]
    assert not any(unit.damaged for units in sink.tracks.values() for unit in units)
    steps = {b.pts - a.pts for a, b in zip(sink.tracks[0], sink.tracks[0][1:], strict=False)}
    assert max(abs(step - 90000 // FPS) for step in steps) <= 1
    assert sink.said("closed")[0][1] is GapCause.CAMERA_CLOSED
    assert sink.reports


async def fetch(url: str, **request: object) -> Gather:
    """Everything of one session until the server ends it."""
    sink = Gather()
    ingest = Ingest(clock=SystemClock(), media_ram=MediaRam(64 << 20))
    ingest.start(StreamRequest(receiver=uuid.uuid4(), name="clip", uri=url, **request), sink)
    async with asyncio.TaskGroup() as group:
        service = group.create_task(ingest.run())
        await sink.until(lambda: bool(sink.said("closed") or sink.said("no session")))
        await ingest.close()
        service.cancel()
    return sink
