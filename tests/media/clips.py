"""Test clips, encoded once per run with PyAV: access units as the depacketisers deliver them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from recorderd.media import formats, h264, h265
from recorderd.media.nal import join_lengths, split_annex_b, split_lengths
from recorderd.model.stream import AccessUnit, Codec, TrackFormat

FPS = 25
CLOCK = 90_000
FRAME = CLOCK // FPS


@dataclass(frozen=True)
class Clip:
    """`units` in decoding order, pts from 0 in output order; `pictures` are the coded slices' bytes without parameter sets."""

    form: TrackFormat
    units: tuple[AccessUnit, ...]


@functools.cache
def video(
    codec: Codec = Codec.H264,
    *,
    frames: int = 75,
    gop: int = 25,
    bframes: int = 0,
    open_gop: bool = False,
    pyramid: bool = False,
    width: int = 320,
    height: int = 180,
    slices: int = 1,
    aud: bool = False,
) -> Clip:
    options = {"preset": "ultrafast", "forced-idr": "0"}
    name = "libx264" if codec is Codec.H264 else "libx265"
    shared = [f"keyint={gop}", f"min-keyint={gop}", "scenecut=0", f"bframes={bframes}", "b-adapt=0"]
    if codec is Codec.H264:
        shared += [
            f"open-gop={int(open_gop)}", f"b-pyramid={'normal' if pyramid else 'none'}", f"slices={slices}", f"aud={int(aud)}"
        ]  # fmt: skip
        options["x264-params"] = ":".join(shared)
    else:
        shared += [
            f"open-gop={int(open_gop)}",
            f"b-pyramid={int(pyramid)}",
            "repeat-headers=1",
            "log-level=none",
            "pools=none",
        ]
        shared += [f"slices={slices}", f"aud={int(aud)}", "frame-threads=1"]
        options["x265-params"] = ":".join(shared)
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS, 1)
    context.options = options
    context.thread_count = 1
    packets = []
    for number in range(frames):
        frame = av.VideoFrame.from_ndarray(_picture(number, width, height), format="yuv420p")
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    units, sets = [], {}
    for packet in packets:
        nals = split_annex_b(bytes(packet))
        keep = [nal for nal in nals if not _is_parameter_set(codec, nal)]
        for nal in nals:
            if _is_parameter_set(codec, nal):
                sets[_type(codec, nal)] = nal
        key = (h264 if codec is Codec.H264 else h265).random_access(nals)
        # A key frame carries the parameter sets in force before its slices, as AccessUnit promises.
        nals = [*(sets[kind] for kind in sorted(sets)), *keep] if key else keep
        units.append(AccessUnit(0, packet.pts * FRAME, join_lengths(nals), 0, key))
    h264_sets, h265_sets = ([[sets[kind]] for kind in kinds if kind in sets] for kinds in ((7, 8), (32, 33, 34)))
    form = formats.h264_format(*h264_sets) if codec is Codec.H264 else formats.h265_format(*h265_sets)
    first = min(unit.pts for unit in units)
    return Clip(form, tuple(retime(units, -first)))


@functools.cache
def aac(seconds: float = 3.0, sample_rate: int = 48_000) -> Clip:
    context = av.CodecContext.create("aac", "w")
    context.sample_rate, context.layout, context.format = sample_rate, "mono", "fltp"
    context.open()
    units = []
    for number in range(round(seconds * sample_rate / 1024)):
        t = (np.arange(1024) + number * 1024) / sample_rate
        frame = av.AudioFrame.from_ndarray(
            (0.2 * np.sin(2 * np.pi * 440 * t)).astype(np.float32).reshape(1, -1), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = sample_rate, number * 1024
        units += [bytes(packet) for packet in context.encode(frame)]
    form = formats.aac_format(bytes(context.extradata))
    return Clip(form, tuple(AccessUnit(0, n * 1024, data, 0) for n, data in enumerate(units)))


@functools.cache
def g711(seconds: float = 3.0, codec: Codec = Codec.PCMU) -> Clip:
    """Frames of 20 ms, 160 bytes."""
    rng = np.random.default_rng(7)
    return Clip(
        formats.g711_format(codec),
        tuple(AccessUnit(0, n * 160, rng.bytes(160), 0) for n in range(round(seconds * 50))),
    )


def retime(units: Sequence[AccessUnit], offset: int) -> list[AccessUnit]:
    return [
        AccessUnit(u.track, u.pts + offset, u.data, u.arrival_ns, u.key, u.damaged, u.parameter_sets_changed)
        for u in units
    ]


def on_track(units: Sequence[AccessUnit], track: int, clock_rate: int, start_ns: int = 0) -> list[AccessUnit]:
    """The same units on another track, each arriving when its decoding order says (equal intervals between first and last pts)."""
    times = sorted(unit.pts for unit in units)
    return [
        AccessUnit(track, u.pts, u.data, start_ns + times[n] * 1_000_000_000 // clock_rate, u.key, u.damaged)
        for n, u in enumerate(units)
    ]


def interleave(*tracks: Sequence[AccessUnit]) -> list[AccessUnit]:
    return sorted((unit for units in tracks for unit in units), key=lambda unit: unit.arrival_ns)


def picture_hash(codec: Codec, unit: bytes) -> str:
    """Of the coded picture: every NAL unit but parameter sets and access unit delimiters."""
    digest = hashlib.sha256()
    for nal in split_lengths(unit):
        if not _is_parameter_set(codec, nal):
            digest.update(len(nal).to_bytes(4, "big"))
            digest.update(nal)
    return digest.hexdigest()


def _type(codec: Codec, nal: bytes | memoryview) -> int:
    return h264.nal_type(nal) if codec is Codec.H264 else h265.nal_type(nal)


def _is_parameter_set(codec: Codec, nal: bytes | memoryview) -> bool:
    return _type(codec, nal) in ((7, 8) if codec is Codec.H264 else (32, 33, 34))


def _picture(number: int, width: int, height: int) -> np.ndarray:
    """A moving gradient with some noise, so that no two pictures code alike."""
    rng = np.random.default_rng(number)
    y = (np.add.outer(np.arange(height), np.arange(width)) + 5 * number) % 220 + 16
    y[: height // 4, : width // 4] = rng.integers(16, 235, (height // 4, width // 4))
    chroma = np.full((height // 2, width), 128)
    return np.concatenate([y, chroma]).astype(np.uint8)
