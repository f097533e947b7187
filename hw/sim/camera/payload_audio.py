"""RTP payload formats of AAC (RFC 3640 AAC-hbr, RFC 6416 LATM), Opus (RFC 7587), G.711 and G.726 (RFC 3551)."""

from __future__ import annotations

from hw.sim.camera.rtp import Media, Payload
from hw.sim.camera.sound import SoundSettings


def audio_media(settings: SoundSettings, config: bytes, payload_type: int, *, latm: bool = False) -> Media:
    """The m= section; `config` is the AudioSpecificConfig of AAC. G.711 takes its static payload type whatever was asked."""
    rate, channels = settings.rate, settings.channels
    if settings.codec == "aac" and latm:
        fmtp = f"profile-level-id=1;cpresent=0;object=2;config={stream_mux_config(config).hex().upper()}"
        return Media("audio", "MP4A-LATM", payload_type, rate, channels, fmtp)
    if settings.codec == "aac":
        fmtp = "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3"
        return Media("audio", "MPEG4-GENERIC", payload_type, rate, channels, f"{fmtp};config={config.hex().upper()}")
    if settings.codec == "opus":
        return Media("audio", "opus", payload_type, 48_000, 2, "sprop-stereo=1" if channels == 2 else "")
    if settings.codec == "g726":
        return Media("audio", f"G726-{settings.bitrate_bps // 1000}", payload_type, rate)
    return Media("audio", settings.codec.upper(), {"pcmu": 0, "pcma": 8}[settings.codec], rate)


def packetise(settings: SoundSettings, frame: bytes, *, latm: bool = False) -> list[Payload]:
    """One frame, one packet."""
    if settings.codec != "aac":
        return [Payload(frame)]
    if latm:
        return [Payload(b"\xff" * (len(frame) // 255) + bytes([len(frame) % 255]) + frame, marker=True)]
    return [Payload(b"\x00\x10" + (len(frame) << 3).to_bytes(2, "big") + frame, marker=True)]


def stream_mux_config(config: bytes) -> bytes:
    """The StreamMuxConfig (ISO/IEC 14496-3, 1.7.3) of one program with one layer, for an AudioSpecificConfig that fills whole bits."""
    fields = [
        (0, 1),  # audioMuxVersion
        (1, 1),  # allStreamsSameTimeFraming
        (0, 6),  # numSubFrames
        (0, 4),  # numProgram
        (0, 3),  # numLayer
        (int.from_bytes(config[:2], "big"), 16),  # AudioSpecificConfig of AAC LC without extensions
        (0, 3),  # frameLengthType
        (0xFF, 8),  # latmBufferFullness: variable rate
        (0, 1),  # otherDataPresent
        (0, 1),  # crcCheckPresent
    ]
    value = bits = 0
    for field, width in fields:
        value = value << width | field
        bits += width
    padding = -bits % 8
    return (value << padding).to_bytes((bits + padding) // 8, "big")
