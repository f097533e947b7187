"""Stream options of the recorder page: `device=cam1&resolution=1920x1080&...`, percent-encoded once.

The recorder itself reads `device`, `audio` and `video`, and sends defaults for resolution, fps and videokeyframeinterval; everything else
goes to the camera verbatim and in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

MAX_CHARS = 4096
MAX_OPTIONS = 64
DEFAULTS = (("resolution", "1920x1080"), ("fps", "30"), ("videokeyframeinterval", "64"))
PREBUFFER_FRAMES = 100  # per GOP: more is possible and costs RAM (recorder page, Zipstream)


class BadStreamOptions(ValueError):
    """The options cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """`forwarded` is what the camera gets, recorder defaults and the audio and video switches included."""

    device: str
    audio: bool
    video: bool
    forwarded: tuple[tuple[str, str], ...]


def prebuffer_faults(forwarded: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """(option, what is wrong with it) where the recorder page's Zipstream table does not allow a stream to be pre-buffered."""
    given = dict(forwarded)
    found = []
    if given.get("videozgopmode", "fixed") != "fixed":
        text = "with a pre-buffer videozgopmode must be fixed: a GOP of unknown length cannot be held in RAM"
        found.append(("videozgopmode", text))
    mode = given.get("videozfpsmode", "fixed")
    if mode not in ("fixed", "dynamic"):
        found.append(
            ("videozfpsmode", "with a pre-buffer videozfpsmode must be fixed, or dynamic with videoframeskipmode=empty")
        )
    elif mode == "dynamic" and given.get("videoframeskipmode") != "empty":
        text = "with a pre-buffer videozfpsmode=dynamic needs videoframeskipmode=empty: left out frames make GOPs of unknown length"
        found.append(("videozfpsmode", text))
    return tuple(found)


def prebuffer_advice(forwarded: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What the page recommends for pre-buffered streams and the options do not follow."""
    frames = _whole(dict(forwarded).get("videokeyframeinterval", ""))
    if frames <= PREBUFFER_FRAMES:
        return ()
    return (
        f"with a pre-buffer videokeyframeinterval should be at most {PREBUFFER_FRAMES}: {frames} frames a GOP take much RAM",
    )


def parse_stream_options(text: str) -> StreamOptions:
    """Percent-decoded once; of a repeated name the last value counts. Raises `BadStreamOptions`."""
    if len(text) > MAX_CHARS:
        raise BadStreamOptions(f"at most {MAX_CHARS} characters")
    decoded = unquote(text, errors="strict") if "=" not in text else text
    options: dict[str, str] = {}
    for part in filter(None, decoded.split("&")):
        name, equals, value = part.partition("=")
        try:
            name, value = unquote(name, errors="strict"), unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            raise BadStreamOptions(f"not UTF-8: {part[:40]!r}") from error
        if not equals or not name.isidentifier():
            raise BadStreamOptions(f"not an option: {part[:40]!r}")
        if any(ord(c) < 32 or c in "&#" for c in value):
            raise BadStreamOptions(f"the value of {name} has characters that cannot be in a URL")
        options.pop(name, None)
        options[name] = value
    if len(options) > MAX_OPTIONS:
        raise BadStreamOptions(f"at most {MAX_OPTIONS} options")
    device = options.pop("device", "")
    if not device:
        raise BadStreamOptions("device= is missing")
    audio = _switch(options.pop("audio", "0"), "audio")
    video = _switch(options.pop("video", "1"), "video")
    missing = tuple((name, value) for name, value in DEFAULTS if name not in options)
    switches = (("video", str(int(video))), ("audio", str(int(audio))))
    return StreamOptions(device, audio, video, (*switches, *missing, *options.items()))


def _switch(value: str, name: str) -> bool:
    if value not in ("0", "1"):
        raise BadStreamOptions(f"{name} is 0 or 1")
    return value == "1"


def _whole(value: str) -> int:
    return int(value) if value.isdecimal() and len(value) < 7 else 0
