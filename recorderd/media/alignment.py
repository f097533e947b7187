"""Where stored fragments fall on the time axis of an export: sessions placed, sound kept in time with the picture (format.md section 9).

Inside a session media time comes from RTP alone, so fragments of a session join exactly. Where a session falls is said by its anchors
(boot times of arrival, by the minimum-delay estimate). Sound and picture are aligned once per session: by sender reports when both have
sane ones, else by arrival. Afterwards two clocks in the camera, or the camera's and ours, may drift; that is taken out slowly, by moving
fragments, at most `_SLEW` of the time that passes:

- the leader (the first video track) stays on its own clock until it is `_LEADER_NS` away from boot time;
- every other track follows the leader: it moves when it is `_FOLLOWER_NS` out of time with it.

So a recording without drift keeps the camera's timing to the tick, and one with 500 ppm stays in time for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from recorderd.model.stream import MediaKind, SenderReport, TrackFormat

_NS = 1_000_000_000
_LEADER_NS = 100_000_000
_FOLLOWER_NS = 20_000_000
_CLOSE_NS = 2_000_000  # a correction ends here
_SLEW = 0.002
_SMOOTH = 4  # of the error seen, a fourth counts at once: arrival times jitter
_LOST_NS = 2_000_000_000  # more than this apart, the media clock has jumped
_SANE_NS = 5 * _NS  # sender reports that disagree with arrival by more are nonsense
_REPORTS_APART_NS = 30 * _NS


@dataclass(frozen=True, slots=True)
class Placement:
    """`tick`: where the fragment's first sample falls, in the track's clock. `moved`: the session was placed anew, nothing joins."""

    tick: int
    moved: bool


@dataclass(slots=True)
class _Session:
    key: Hashable
    offset_ns: int  # axis time of media time 0
    last_ns: int  # axis time of the last fragment
    by_reports: bool  # sender reports have said `report_ns`, beyond what arrival says
    report_ns: int
    error_ns: float = 0.0
    correcting: bool = False
    pts: int = 0
    arrival_ns: int = 0
    report: SenderReport | None = None


class Alignment:
    """One export. Times in nanoseconds on the export's axis, which begins at 0; give fragments in the order of their times."""

    def __init__(self, tracks: Sequence[TrackFormat]) -> None:
        self._rates = [form.clock_rate for form in tracks]
        video = [n for n, form in enumerate(tracks) if form.kind is MediaKind.VIDEO]
        self._leader = video[0] if video else 0
        self._sessions: list[_Session | None] = [None] * len(tracks)
        self._lead_ns = 0.0  # leader's media time less its arrival, smoothed
        self._lead_key: Hashable = None

    def place(
        self,
        track: int,
        session: Hashable,
        pts: int,
        arrival_ns: int,
        report: SenderReport | None,
        not_before: int | None,
    ) -> Placement:
        """Places the fragment whose first sample has media time `pts` and arrived at `arrival_ns` of the axis.

        A session that is placed (anew) does not begin before tick `not_before`, the end of what the track has.
        """
        rate = self._rates[track]
        media_ns = pts * _NS // rate
        state = self._sessions[track]
        joined = state is not None and state.key == session
        by_reports = None
        if not (joined and state is not None and state.by_reports):
            by_reports = self._by_reports(track, session, pts, arrival_ns, report)
        if state is not None and joined and by_reports is not None:
            state.by_reports, state.report_ns = True, by_reports
        report_ns = state.report_ns if state is not None and joined else by_reports or 0
        expected_ns = arrival_ns + self._behind_leader(track, session) + report_ns
        if state is None or not joined or abs(media_ns + state.offset_ns - expected_ns) > _LOST_NS:
            tick = round(expected_ns * rate / _NS)
            if not_before is not None:
                tick = max(tick, not_before)
            offset_ns = round((tick - pts) * _NS / rate)
            state = _Session(session, offset_ns, media_ns + offset_ns, by_reports is not None, report_ns)
            self._sessions[track] = state
            self._note(track, state, pts, arrival_ns, report)
            return Placement(tick, True)
        position_ns = media_ns + state.offset_ns
        state.error_ns += (expected_ns - position_ns - state.error_ns) / _SMOOTH
        band = _LEADER_NS if track == self._leader else _FOLLOWER_NS
        if abs(state.error_ns) > band:
            state.correcting = True
        if state.correcting:
            most = _SLEW * max(0, position_ns - state.last_ns)
            step = max(-most, min(most, state.error_ns))
            state.offset_ns += round(step)
            state.error_ns -= step
            state.correcting = abs(state.error_ns) > _CLOSE_NS
        state.last_ns = media_ns + state.offset_ns
        self._note(track, state, pts, arrival_ns, report)
        return Placement(pts + round(state.offset_ns * rate / _NS), False)

    def _note(self, track: int, state: _Session, pts: int, arrival_ns: int, report: SenderReport | None) -> None:
        state.pts, state.arrival_ns, state.report = pts, arrival_ns, report or state.report
        if track == self._leader:
            lead = pts * _NS // self._rates[track] + state.offset_ns - arrival_ns
            fresh = self._lead_key != state.key
            self._lead_ns = lead if fresh else self._lead_ns + (lead - self._lead_ns) / _SMOOTH
            self._lead_key = state.key

    def _behind_leader(self, track: int, session: Hashable) -> int:
        """How far the leader's own clock has taken it from its arrival: a track of the same session belongs there too."""
        return round(self._lead_ns) if track != self._leader and self._lead_key == session else 0

    def _by_reports(
        self, track: int, session: Hashable, pts: int, arrival_ns: int, report: SenderReport | None
    ) -> int | None:
        """How much later than its arrival says, measured against the leader, this track was captured; None without sane reports."""
        leader = self._sessions[self._leader]
        if track == self._leader or leader is None or leader.key != session or report is None or leader.report is None:
            return None
        if not report.ntp >> 32 or not leader.report.ntp >> 32:
            return None  # a camera without a clock says 0
        if abs(report.arrival_ns - leader.report.arrival_ns) > _REPORTS_APART_NS:
            return None
        own_ns = _ntp_ns(report) + (pts - report.rtp) * _NS // self._rates[track]
        lead_ns = _ntp_ns(leader.report) + (leader.pts - leader.report.rtp) * _NS // self._rates[self._leader]
        shift = (own_ns - lead_ns) - (arrival_ns - leader.arrival_ns)
        return shift if abs(shift) <= _SANE_NS else None


def _ntp_ns(report: SenderReport) -> int:
    return (report.ntp * _NS) >> 32
