"""When media arrived, freed from network and sweep delays: the minimum-delay estimate; and whether sender reports make sense.

Boot time of arrival minus media time is the clock offset plus a delay that is never negative. Its lower envelope over the last two minutes
is a straight line: the offset now, and how fast the camera's clock runs against ours. The line is the edge of the lower convex hull
that spans the middle of the window (the line below all points with the least sum of distances). Pure: no clock is read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from recorderd.model.stream import SenderReport

BUCKET_NS = 2_000_000_000
BUCKETS = 60
SLOPE_AFTER_NS = 20_000_000_000  # below that a slope would be guessed from jitter
_NEVER_EARLY = 1 << 80
MAX_SLOPE = 2e-3  # clocks worse than 2000 ppm do not exist; jitter does


class ArrivalEstimate:
    """One track of one session. `observe` every unit in the order of arrival; `arrival_ns` answers for any media time near the newest."""

    __slots__ = ("_bucket", "_bucket_end", "_clock_rate", "_line", "_points", "newest")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._points: deque[tuple[int, int]] = deque(
            maxlen=BUCKETS
        )  # (media time, delay), ns: the least delay of each bucket
        self._bucket: tuple[int, int] | None = None
        self._bucket_end = 0
        self._line = (0, 0, 0.0)  # media time, delay there, slope
        self.newest = 0  # media time of the newest unit, in clock ticks

    def observe(self, media_time: int, arrival_ns: int) -> None:
        self.observe_unless_early(media_time, arrival_ns, _NEVER_EARLY)

    def observe_unless_early(self, media_time: int, arrival_ns: int, limit_ns: int) -> bool:
        """False, and nothing is noted, for a unit that arrived more than `limit_ns` sooner than possible (`early_ns`)."""
        at = media_time * 1_000_000_000 // self._clock_rate
        delay = arrival_ns - at
        line = self._line
        x, y, slope = line
        below = y - delay
        if slope:
            below += round((at - x) * slope)
        if below > limit_ns and self._bucket is not None:
            return False
        if self._bucket is None:
            self._bucket, self._bucket_end = (at, delay), arrival_ns + BUCKET_NS
            self._line = (at, delay, 0.0)
        elif arrival_ns >= self._bucket_end:
            self._points.append(self._bucket)
            self._bucket, self._bucket_end = (at, delay), arrival_ns + BUCKET_NS
            self._line = self._fit()
        elif delay < self._bucket[1]:
            self._bucket = (at, delay)
        if self._line is not line:
            x, y, slope = self._line
            below = y + round((at - x) * slope) - delay
        if below > 0:
            self._line = (x, y - below, slope)
        if media_time > self.newest or not self._points:
            self.newest = media_time
        return True

    def arrival_ns(self, media_time: int) -> int:
        """Boot time at which the unit of this media time would have arrived with the least delay."""
        at = media_time * 1_000_000_000 // self._clock_rate
        x, y, slope = self._line
        return at + y + round((at - x) * slope)

    def early_ns(self, media_time: int, arrival_ns: int) -> int:
        """How much sooner than possible a unit of this media time arrived: far above 0 when media time has jumped forward."""
        return 0 if self._bucket is None else self.arrival_ns(media_time) - arrival_ns

    @property
    def drift_ppm(self) -> float:
        """How much slower than ours the camera's clock runs; 0 while not known."""
        return self._line[2] * 1e6

    def _fit(self) -> tuple[int, int, float]:
        points = sorted([*self._points, self._bucket] if self._bucket is not None else self._points)
        if points[-1][0] - points[0][0] < SLOPE_AFTER_NS:
            x, y = min(points, key=lambda point: point[1])
            return x, y, 0.0
        hull: list[tuple[int, int]] = []
        for x, y in points:
            while len(hull) > 1 and _turns_right(hull[-2], hull[-1], (x, y)):
                hull.pop()
            hull.append((x, y))
        middle = sum(x for x, _ in points) // len(points)
        index = next((i for i in range(1, len(hull)) if hull[i][0] >= middle), len(hull) - 1)
        (x0, y0), (x1, y1) = hull[index - 1], hull[index]
        slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
        if abs(slope) > MAX_SLOPE:
            slope = MAX_SLOPE if slope > 0 else -MAX_SLOPE
        # With the slope bounded the line may have to come down to stay below every point.
        base = min(y - round((x - x0) * slope) for x, y in points)
        return x0, base, slope


def _turns_right(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


NTP_UNIX_S = 2_208_988_800
SANE_WITHIN_NS = 5_000_000_000
SANE_SPREAD_NS = 200_000_000


def ntp_ns(ntp: int) -> int:
    """A 64-bit NTP timestamp as nanoseconds since 1970."""
    return ((ntp >> 32) - NTP_UNIX_S) * 1_000_000_000 + ((ntp & 0xFFFFFFFF) * 1_000_000_000 >> 32)


@dataclass(frozen=True, slots=True)
class ReportedTime:
    """What a sender report says of one track: at `media_time` the camera's clock showed `camera_ns` (since 1970)."""

    media_time: int
    camera_ns: int


def reported(report: SenderReport) -> ReportedTime:
    return ReportedTime(report.rtp, ntp_ns(report.ntp))


def reports_align(
    video: SenderReport,
    video_arrival: ArrivalEstimate,
    audio: SenderReport,
    audio_arrival: ArrivalEstimate,
) -> int | None:
    """The camera's offset between its tracks: ns by which audio media time runs ahead of what arrival alone says, or None.

    Format.md section 9: audio and video are aligned by sender reports only when both are sane, that is when the alignment they give
    differs from the one by arrival by less than `SANE_WITHIN_NS`, and both carry a clock that runs. A camera whose wall clock is wrong
    by years still aligns its tracks well: only the difference of the two reports counts.
    """
    if video.ntp >> 32 == 0 or audio.ntp >> 32 == 0:
        return None
    # Boot time at which the camera's clock showed the video report's NTP time, by each track's own arrivals.
    by_video = video_arrival.arrival_ns(video.rtp) - ntp_ns(video.ntp)
    by_audio = audio_arrival.arrival_ns(audio.rtp) - ntp_ns(audio.ntp)
    difference = by_audio - by_video
    return difference if abs(difference) < SANE_WITHIN_NS else None
