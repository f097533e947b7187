"""What a simulated camera sends: the two ways to make it (`clip`, `live`) meet the sessions here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hw.sim.camera.rtp import Media, Unit


class Playback(Protocol):
    """One session's way through a source."""

    zero_at: float  # loop time at which the media time of every track is zero

    def due_s(self) -> float:
        """Loop time when the next unit is to be sent; `math.inf` while there is none (the source wakes the session when there is)."""

    def take(self) -> tuple[int, Unit, int]:
        """(track, the next unit, its media time in the track's clock). Only when `due_s` is not infinite."""

    def close(self) -> None: ...


class Source(Protocol):
    """A camera's pictures and sound."""

    @property
    def media(self) -> tuple[Media, ...]:
        """The tracks, in the order of the SDP. May change while a parameter-set change is commanded; sessions keep what they set up."""

    def play(self, tracks: frozenset[int], wake: Callable[[], None]) -> Playback:
        """Starts a session's playback of these tracks, with a random access point first. Called on the loop, as `wake` is."""

    def change_parameter_sets(self) -> None:
        """From the next key frame on the video has other parameter sets (another picture size)."""
