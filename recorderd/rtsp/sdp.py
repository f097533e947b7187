"""Session descriptions (RFC 8866) as cameras send them: only what is needed to fetch the media.

Lenient by line: an unknown or malformed line is skipped, a missing origin or time line is no error. Bounded: `MAX_LINES`, `MAX_MEDIA`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINES = 2000
MAX_MEDIA = 32

_RTPMAP = re.compile(r"([0-9]{1,3})\s+([A-Za-z0-9._+-]{1,64})/([0-9]{1,9})(?:/([0-9]{1,3}))?")
_MEDIA = re.compile(r"([a-z]{1,32})\s+([0-9]{1,5})(?:/[0-9]{1,5})?\s+(\S{1,64})\s*(.*)")

# RFC 3551 table 4 and 5: the static payload types that cameras use.
_STATIC = {0: ("PCMU", 8000, 1), 8: ("PCMA", 8000, 1), 2: ("G726-32", 8000, 1), 26: ("JPEG", 90000, 0)}


class SdpError(ValueError):
    """Not a session description."""


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One `m=` section. `encoding` is upper case and empty when unknown; `parameters` (fmtp) has lower-case names."""

    kind: str  # audio, video, application
    payload_type: int
    encoding: str
    clock_rate: int
    channels: int
    parameters: dict[str, str]
    control: str
    protocol: str = "RTP/AVP"
    sends: bool = True  # False: inactive, or a back channel that waits for our voice
    frame_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionDescription:
    control: str
    media: tuple[MediaDescription, ...]
    range_end: str = ""  # of a=range:npt=, empty for live


@dataclass(slots=True)
class _Section:
    kind: str
    protocol: str
    payload_types: list[int]
    rtpmaps: dict[int, tuple[str, int, int]]
    fmtps: dict[int, dict[str, str]]
    control: str = ""
    direction: str = ""
    frame_rate: float = 0.0


def parse_sdp(body: bytes) -> SessionDescription:
    """Raises `SdpError` when there is no media section at all."""
    text = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise SdpError(f"{len(lines)} lines")
    control, range_end = "", ""
    sections: list[_Section] = []
    direction = ""
    for line in lines:
        kind, equals, value = line.strip("\x00 \t").partition("=")
        if not equals:
            continue
        if kind == "m":
            if len(sections) == MAX_MEDIA:
                raise SdpError(f"more than {MAX_MEDIA} media sections")
            if (section := _media_line(value)) is not None:
                section.direction = direction
                sections.append(section)
        elif kind == "a":
            name, _, argument = value.partition(":")
            name, argument = name.strip().lower(), argument.strip()
            if name in ("recvonly", "inactive", "sendonly", "sendrecv"):
                if sections:
                    sections[-1].direction = name
                else:
                    direction = name
            elif not sections:
                if name == "control":
                    control = argument
                elif name == "range":
                    range_end = argument.partition("-")[2].strip()
            else:
                _attribute(sections[-1], name, argument)
    if not sections:
        raise SdpError("no media section")
    # ONVIF (Streaming 5.3) writes directions as the client sees them: then "recvonly" is what comes and "sendonly" the back channel.
    # Only sound has a back channel. A metadata stream marked "recvonly" beside a "sendonly" picture says nothing about either.
    clients_view = any(section.direction == "recvonly" for section in sections if section.kind in ("video", "audio"))
    media = tuple(_finish(section, clients_view) for section in sections)
    return SessionDescription(control, media, range_end)


def _media_line(value: str) -> _Section | None:
    match = _MEDIA.fullmatch(value.strip())
    if match is None:
        return None
    types = [int(t) for t in match[4].split() if t.isascii() and t.isdigit() and len(t) <= 3 and int(t) < 128]
    return _Section(match[1], match[3].upper(), types, {}, {})


def _attribute(section: _Section, name: str, argument: str) -> None:
    if name == "control":
        section.control = argument
    elif name == "rtpmap" and (match := _RTPMAP.match(argument)):
        section.rtpmaps.setdefault(int(match[1]), (match[2].upper(), int(match[3]), int(match[4] or 0)))
    elif name == "rtpmap" and (match := re.match(r"([0-9]{1,3})\s+([A-Za-z0-9._+-]{1,64})\s*/?\s*$", argument)):
        section.rtpmaps.setdefault(int(match[1]), (match[2].upper(), 0, 0))
    elif name == "fmtp":
        number, _, rest = argument.partition(" ")
        if number.isascii() and number.isdigit() and len(number) <= 3:
            section.fmtps.setdefault(int(number), {}).update(_parameters(rest))
    elif name in ("framerate", "x-framerate") and re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,9})?", argument):
        section.frame_rate = float(argument)


def _parameters(text: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals and name.strip():
            out[name.strip().lower()] = value.strip().strip('"')
    return out


def _finish(section: _Section, clients_view: bool) -> MediaDescription:
    """One section, with the first payload type that is described; cameras list one in practice."""
    types = section.payload_types or list(section.rtpmaps)[:1]
    chosen = next((t for t in types if t in section.rtpmaps or t in _STATIC), types[0] if types else -1)
    name, clock, channels = section.rtpmaps.get(chosen) or _STATIC.get(chosen) or ("", 0, 0)
    if not clock and chosen in _STATIC:
        clock = _STATIC[chosen][1]
    return MediaDescription(
        kind=section.kind,
        payload_type=chosen,
        encoding=name,
        clock_rate=clock,
        channels=channels,
        parameters=section.fmtps.get(chosen, {}),
        control=section.control,
        protocol=section.protocol,
        sends=section.direction != "inactive"
        and not (section.kind == "audio" and clients_view and section.direction == "sendonly"),
        frame_rate=section.frame_rate,
    )
