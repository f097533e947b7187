"""Is media still coming, and if not, what does the camera still do? Pure: every reading of the clock is passed in.

    quiet since           what is known                           verdict
    --------------------  --------------------------------------  ---------------------------------------------------
    < T                                                           FINE
    T                                                             PROBE: a keep-alive and a TCP connect, again every 5 s
    ...                   no byte at all for 10 s                 SILENT: the session is given up
    10 s (or T)           the camera answers, or sends reports    PLAY_AGAIN, once
    20 s (or T + 10 s)    still no media                          NEW_SESSION

T is three times the longest frame interval of the last minute, at least 2 s. "Media" is video, or audio where there is no video; metadata
never counts. Where there is nothing but metadata any sign of life is media, and T is 15 s: a camera may have nothing to tell for days.
SILENT also waits until a probe has been out for 7.5 s, which with T and a tick is within those 10 s: a stream of one picture a minute is
silent for longer than 10 s when all is well. A session that never had media is given up later each time (`patience_s`): some cameras
wait for their next key frame.
"""

from __future__ import annotations

import enum

SECOND = 1_000_000_000
LEAST_QUIET_NS = 2 * SECOND
EVENTS_QUIET_NS = 15 * SECOND
SILENT_NS = 10 * SECOND
PROBE_WAIT_NS = 7 * SECOND + SECOND // 2
PROBE_EVERY_NS = 5 * SECOND
NO_MEDIA_NS = 10 * SECOND
GIVE_UP_NS = 20 * SECOND
MANY_FRAMES = 30
_BUCKET_NS = 10 * SECOND
_BUCKETS = 6


class Verdict(enum.Enum):
    FINE = "fine"
    QUIET = "quiet"  # wait for what the probe shows
    PROBE = "probe"
    PLAY_AGAIN = "play again"
    NEW_SESSION = "no media"
    SILENT = "silent"


class MediaWatch:
    """One session. `last_media_ns` starts as the session's beginning."""

    def __init__(self, now_ns: int, *, patience_s: float = 20.0, least_ns: int = LEAST_QUIET_NS) -> None:
        self.last_media_ns = now_ns
        self.last_byte_ns = now_ns
        self.had_media = False
        self._least_ns = least_ns
        self._patience_ns = round(patience_s * SECOND)
        self._longest = [0] * _BUCKETS
        self._frames = [0] * _BUCKETS
        self._bucket = now_ns // _BUCKET_NS
        self._probe_ns: int | None = None
        self._first_probe_ns: int | None = None
        self._answered = False
        self._played_again = False

    def interval(self, length_ns: int, now_ns: int, frames: int = 1) -> None:
        """The media time between two frames of the watched track; the longest of `frames` that came together.

        One that ends a pause is left out when the last minute had many frames: it is the fault, not the stream's pace.
        """
        bucket = now_ns // _BUCKET_NS
        if bucket != self._bucket:
            for stale in range(self._bucket + 1, min(bucket, self._bucket + _BUCKETS) + 1):
                self._longest[stale % _BUCKETS] = self._frames[stale % _BUCKETS] = 0
            self._bucket = bucket
        if self.quiet and sum(self._frames) >= MANY_FRAMES:
            return
        index = bucket % _BUCKETS
        self._frames[index] += frames
        if length_ns > self._longest[index]:
            self._longest[index] = length_ns

    @property
    def longest_ns(self) -> int:
        """The longest frame interval of the last minute; 0 while none is known."""
        return max(self._longest)

    @property
    def threshold_ns(self) -> int:
        """T of the table."""
        return max(self._least_ns, 3 * max(self._longest))

    def media(self, now_ns: int) -> None:
        """A packet of the watched track arrived."""
        self.last_media_ns = self.last_byte_ns = now_ns
        self.had_media = True
        self._probe_ns = self._first_probe_ns = None
        self._answered = self._played_again = False

    def byte(self, now_ns: int) -> None:
        """Anything else arrived."""
        self.last_byte_ns = now_ns
        if self._first_probe_ns is not None:
            self._answered = True

    @property
    def quiet(self) -> bool:
        """Whether a probe is out, or was answered, and media has not come back."""
        return self._first_probe_ns is not None

    @property
    def answers(self) -> bool:
        """Whether the camera has given any sign of life since the first probe."""
        return self._answered

    def verdict(self, now_ns: int) -> Verdict:
        """What to do now. PROBE and PLAY_AGAIN are said once each time they are due."""
        quiet_ns = now_ns - self.last_media_ns
        threshold = self.threshold_ns
        if quiet_ns < threshold:
            return Verdict.FINE
        if self._first_probe_ns is None:
            self._first_probe_ns = self._probe_ns = now_ns
            return Verdict.PROBE
        if now_ns - self.last_byte_ns >= SILENT_NS and now_ns - self._first_probe_ns >= PROBE_WAIT_NS:
            return Verdict.SILENT
        if self._answered:
            give_up = GIVE_UP_NS if self.had_media else max(GIVE_UP_NS, self._patience_ns)
            if quiet_ns >= max(give_up, threshold + NO_MEDIA_NS):
                return Verdict.NEW_SESSION
            if quiet_ns >= max(NO_MEDIA_NS, threshold) and not self._played_again:
                self._played_again = True
                self._probe_ns = now_ns
                return Verdict.PLAY_AGAIN
        if self._probe_ns is not None and now_ns - self._probe_ns >= PROBE_EVERY_NS:
            self._probe_ns = now_ns
            return Verdict.PROBE
        return Verdict.QUIET
