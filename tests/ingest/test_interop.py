"""Streams of a real server that nobody here wrote (GStreamer's) and of the simulated camera: every codec, bit by bit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from hw.sim.camera import Camera, Credentials, SoundSettings, VideoSettings, sound_clip, video_clip
from hw.sim.camera.clip import ClipSource, PacketStyle
from hw.sim.camera.faults import Quirks
from recorderd.ingest.transports import opener
from recorderd.media.nal import split_lengths
from recorderd.model.causes import GapCause
from recorderd.model.device import CertificateCheck, CertificateValidation
from recorderd.model.device_tls import context_for
from recorderd.model.stream import Codec
from tests.ingest.fetching import compare, fetch, request, service
from tests.ingest.gather import Gather
from tests.peers.certificate import make_authority, make_certificate, needs_openssl
from tests.peers.gst_camera import gst_camera, needs_gst_camera

PICTURES = 25
FPS = Fraction(250)  # what arrives is compared, not when: a turn takes a tenth of a second
UNCHECKED = CertificateCheck(CertificateValidation.OFF)
SMALL = {"width": 320, "height": 240, "fps": FPS, "gop": 10, "bitrate_bps": 3_000_000}
SHAPES = {
    "plain": {},
    "B-frames": {"reorder": 2},
    "pyramid": {"reorder": 3, "pyramid": True},
    "open GOP": {"reorder": 2, "open_gop": True},
}


def video(codec="h264", style=None, **choices):
    return video_clip(VideoSettings(codec, **(SMALL | choices)), PICTURES, style or PacketStyle())


SOUNDS = {
    "aac": (SoundSettings("aac", 16_000), Codec.AAC),
    "aac stereo": (SoundSettings("aac", 48_000, channels=2), Codec.AAC),
    "pcmu": (SoundSettings("pcmu", 8_000), Codec.PCMU),
    "pcma": (SoundSettings("pcma", 8_000), Codec.PCMA),
    "opus": (SoundSettings("opus", 48_000), Codec.OPUS),
    "aac in LATM": (SoundSettings("aac", 16_000), Codec.AAC),
    **{
        f"g726 at {rate} kbit/s": (SoundSettings("g726", 8_000, bitrate_bps=rate * 1000), Codec.G726)
        for rate in (16, 24, 32, 40)
    },
}


# --- GStreamer's server ---------------------------------------------------------------------------------------


@pytest.mark.host
@needs_gst_camera
@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gstreamer_pictures(codec, shape):
    given = video(codec, **SHAPES[shape])
    with gst_camera(given) as camera:
        sink = asyncio.run(fetch(camera.url, {0: 45}))
    compare(sink.tracks[0], given)
    assert sink.sessions[0].formats[0].codec == codec
    assert sink.sessions[0].formats[0].width == 320
    assert sink.said("interrupted") == []


@pytest.mark.host
@needs_gst_camera
@pytest.mark.parametrize("name", [name for name in SOUNDS if "24" not in name and "40" not in name])
def test_gstreamer_sound_beside_pictures(name):
    settings, codec = SOUNDS[name]
    latm = name.endswith("LATM")
    given, sound = video(), sound_clip(settings, 12, PacketStyle(latm=latm))
    with gst_camera(given, sound) as camera:
        sink = asyncio.run(fetch(camera.url, {0: 30, 1: 10}))
    assert [form.codec for form in sink.sessions[0].formats] == [Codec.H264, codec]
    compare(sink.tracks[0], given)
    compare(sink.tracks[1], sound)


@pytest.mark.host
@needs_gst_camera
def test_gstreamer_motion_jpeg():
    given = video("mjpeg")
    with gst_camera(given) as camera:
        sink = asyncio.run(fetch(camera.url, {0: 10}))
    same_pictures(sink, given)


@pytest.mark.host
@needs_gst_camera
@pytest.mark.parametrize("transport", ["tcp", "udp", "http"])
def test_gstreamer_transports(transport):
    given = video(gop=25)
    with gst_camera(given, sound_clip(SOUNDS["aac"][0], 12)) as camera:
        sink = asyncio.run(fetch(camera.url, {0: 40, 1: 5}, transport=transport))
    compare(sink.tracks[0], given)


@pytest.mark.host
@needs_gst_camera
def test_gstreamer_by_the_http_address_that_onvif_gives_for_a_tunnel():
    given = video()
    with gst_camera(given) as camera:
        sink = asyncio.run(fetch(camera.url.replace("rtsp://", "http://"), {0: 10}, transport="http"))
    compare(sink.tracks[0], given)


@pytest.mark.host
@needs_gst_camera
def test_gstreamer_digest():
    given = video()
    with gst_camera(given, user="anna", password="s p@ce") as camera:
        sink = asyncio.run(fetch(camera.url, {0: 10}, username="anna", password="s p@ce"))
        compare(sink.tracks[0], given)
        refused = asyncio.run(fetch(camera.url, {0: 10}, username="anna", password="wrong"))
        assert refused.said("no session")[0][1] is GapCause.UNAUTHORIZED


@pytest.mark.host
@needs_gst_camera
@needs_openssl
@pytest.mark.parametrize("transport", ["rtsps", "https"])
def test_gstreamer_over_tls(tmp_path, transport):
    given = video()
    with gst_camera(given, certificate=make_certificate(tmp_path)) as camera:
        sink = asyncio.run(fetch(camera.url, {0: 10}, transport=transport, certificates=UNCHECKED))
        compare(sink.tracks[0], given)
        refused = asyncio.run(fetch(camera.url, {0: 10}, transport=transport))
        _, cause, detail, _ = refused.said("no session")[0]
        assert cause is GapCause.CAMERA_ERROR
        assert "certificate" in detail


@pytest.mark.host
@needs_gst_camera
@needs_openssl
@pytest.mark.parametrize(
    ("name", "validation", "works"),
    [
        ("127.0.0.1", CertificateValidation.STANDARD, True),
        ("camera.example", CertificateValidation.STANDARD, False),
        ("camera.example", CertificateValidation.LIMITED, True),
    ],
)
def test_gstreamer_with_a_certificate_of_a_known_authority(tmp_path, monkeypatch, name, validation, works):
    given, certificate = video(), make_certificate(tmp_path, name=name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context_for.cache_clear()
    try:
        with gst_camera(given, certificate=certificate) as camera:
            sink = asyncio.run(fetch(camera.url, {0: 10}, transport="rtsps", certificates=CertificateCheck(validation)))
    finally:
        context_for.cache_clear()
    if works:
        compare(sink.tracks[0], given)
    else:
        _, cause, detail, _ = sink.said("no session")[0]
        assert cause is GapCause.CAMERA_ERROR
        assert "not valid for '127.0.0.1'" in detail


@pytest.mark.host
@needs_gst_camera
@needs_openssl
@pytest.mark.parametrize("transport", ["rtsps", "https"])
def test_a_devices_own_authority_vouches_for_it_in_place_of_the_systems(tmp_path, monkeypatch, transport):
    ours, other = make_authority(tmp_path, "ours"), make_authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.pem))
    context_for.cache_clear()

    def asked(camera, *authorities, validation=CertificateValidation.STANDARD):
        check = CertificateCheck(validation, authorities)
        return asyncio.run(fetch(camera.url, {0: 3}, transport=transport, certificates=check))

    def refused(sink):
        _, cause, detail, _ = sink.said("no session")[0]
        assert cause is GapCause.CAMERA_ERROR
        assert "the camera's certificate is not accepted: unable to get local issuer certificate" in detail

    try:
        with gst_camera(video(), certificate=ours.issue()) as camera:
            refused(asked(camera))
            refused(asked(camera, other.text))
            assert asked(camera, other.text, ours.text).sessions, "any one of them may vouch"
        with gst_camera(video(), certificate=other.issue()) as camera:
            assert asked(camera).sessions
            refused(asked(camera, ours.text))  # the system's authorities do not count any more
        with gst_camera(video(), certificate=ours.issue("camera.example")) as camera:
            assert "not valid for '127.0.0.1'" in asked(camera, ours.text).said("no session")[0][2]
            assert asked(camera, ours.text, validation=CertificateValidation.LIMITED).sessions
            itself = (tmp_path / "ours-camera.example-alone.pem").read_text()
            assert asked(camera, itself, validation=CertificateValidation.LIMITED).sessions, "its own certificate"
    finally:
        context_for.cache_clear()


# --- the simulated camera -------------------------------------------------------------------------------------


def simulated(*tracks, counts, quirks=None, credentials=None, **choices):
    async def run():
        async with Camera(ClipSource(*tracks), quirks=quirks, credentials=credentials, seed=1) as camera:
            return await fetch(camera.url, counts, **choices)

    return asyncio.run(run())


def same_pictures(sink, given):
    """The JPEG files differ in their headers; what they show does not."""
    for unit, coded in zip(sink.tracks[0], given.coded, strict=False):
        assert unit.data.startswith(b"\xff\xd8")
        assert unit.data.endswith(b"\xff\xd9")
        assert np.array_equal(decoded(unit.data), decoded(coded[0]))
    form = [entry for entry in sink.log if entry[0] == "format"]
    known = sink.sessions[0].formats[0] if not form else form[0][2]
    assert (known.codec, known.width, known.height) == (Codec.MJPEG, 320, 240)


def decoded(image: bytes) -> np.ndarray:
    context = av.CodecContext.create("mjpeg", "r")
    (frame,) = context.decode(av.Packet(image))
    return frame.to_ndarray()


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize(
    "style",
    [
        PacketStyle(),
        PacketStyle(sets_in_sdp=False),
        PacketStyle(sets_in_band=False),
        PacketStyle(aggregate=False, sei_apart=True),
        PacketStyle(extension=b"\x01\x02\x03\x04"),
    ],
    ids=["plain", "sets in band", "sets in SDP", "SEI apart", "header extension"],
)
def test_pictures_in_every_style(codec, style):
    given = video(codec, style)
    sink = simulated(given, counts={0: 30})
    compare(sink.tracks[0], given)


@pytest.mark.parametrize(
    ("settings", "codec", "latm"), [(*SOUNDS[name], name.endswith("LATM")) for name in SOUNDS], ids=SOUNDS
)
def test_sound(settings, codec, latm):
    given = sound_clip(settings, 12, PacketStyle(latm=latm))
    sink = simulated(video(), given, counts={1: 20})
    form = sink.sessions[0].formats[1]
    assert (form.codec, form.sample_rate) == (codec, settings.rate)
    compare(sink.tracks[1], given)


def test_motion_jpeg():
    given = video("mjpeg")
    same_pictures(simulated(given, counts={0: 10}), given)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("scheme", ["MD5", "SHA-256"])
def test_transports_and_credentials(transport, scheme):
    given = video(gop=25)
    sink = simulated(
        given, counts={0: 30}, credentials=Credentials("root", "pa:ss@1"), transport=transport, username="root",
        password="pa:ss@1",
    )  # fmt: skip
    compare(sink.tracks[0], given)


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(data_before_play_reply=True),
        Quirks(sdp_without_origin=True, describe_without_content_type=True),
        Quirks(content_base=False),
        Quirks(absolute_control=True),
        Quirks(wrong_rtptime=True),
        Quirks(rtp_info=False),
        Quirks(keepalive_methods=frozenset({"OPTIONS"})),
    ],
    ids=["early data", "bare SDP", "no base", "absolute control", "wrong rtptime", "no RTP-Info", "OPTIONS only"],
)
def test_quirks(quirks):
    given = video()
    compare(simulated(given, counts={0: 15}, quirks=quirks).tracks[0], given)


def test_gradual_intra_refresh_has_entries():
    """After the first picture there is no IDR picture in such a stream: its recovery points are where a decoder may start."""
    given = video_clip(VideoSettings("h264", **SMALL, intra_refresh=True), 50)
    sink = simulated(given, counts={0: 60})
    keys = [number for number, unit in enumerate(sink.tracks[0][:50]) if unit.key]
    assert keys[0] == 0
    assert len(keys) >= 3
    decoder = av.CodecContext.create("h264", "r")
    start = keys[2]
    annex_b = [unit.data for unit in sink.tracks[0][start : start + 15]]
    shown = [frame for data in annex_b for frame in decoder.decode(av.Packet(as_byte_stream(data)))]
    assert shown


def as_byte_stream(unit: bytes) -> bytes:
    return b"".join(b"\x00\x00\x00\x01" + bytes(nal) for nal in split_lengths(unit))


@pytest.mark.parametrize(
    ("validation", "encrypted", "allowed", "works"),
    [
        (CertificateValidation.STANDARD, True, False, True),
        (CertificateValidation.STANDARD, False, False, False),
        (CertificateValidation.LIMITED, True, False, False),
        (CertificateValidation.OFF, True, False, False),
        (CertificateValidation.OFF, False, True, True),
    ],
)
def test_basic_needs_encryption_and_a_checked_name(validation, encrypted, allowed, works):
    def encrypted_or_so_it_says(request, url):
        return replace(opener(request, url), encrypted=encrypted)

    async def run():
        sink, check = Gather(), CertificateCheck(validation)
        camera = Camera(ClipSource(video()), credentials=Credentials("anna", "secret", ("Basic",)))
        async with camera, service(open_with=encrypted_or_so_it_says) as ingest:
            given = {"username": "anna", "password": "secret", "allow_basic": allowed, "certificates": check}
            ingest.start(request(camera.url, **given), sink)
            await sink.until(lambda: sink.sessions or sink.said("no session"))
        return sink

    sink = asyncio.run(run())
    assert bool(sink.sessions) is works
    if not works:
        _, cause, detail, _ = sink.said("no session")[0]
        assert cause is GapCause.UNAUTHORIZED
        assert "only Basic" in detail
