"""`recorderctl timeline RECORDING`: a day as a drawn bar, its gaps with their causes, and what was recorded on an event."""

from __future__ import annotations

import argparse
import datetime
import sys

from recorderd.ctl.bar import ASCII, UNICODE, Glyphs, Stretch, What, draw, ruler
from recorderd.ctl.export import recorder_now, time_argument
from recorderd.ctl.session import Failure, Session, terminal_width
from recorderd.ctl.table import age, table
from recorderd.ctl.when import from_ns, spoken, to_ns
from recorderd.protocol import timeline
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339, to_rfc3339

_MAX_LISTED = 40
_SHORT_NS = 200_000_000  # not worth a line: a session's first moments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", help="its name or token")
    parser.add_argument("--day", default="today", metavar="DAY", help="today (default), yesterday, tuesday, 2026-11-17")
    parser.add_argument("--from", dest="start", metavar="TIME", help="instead of a day: from here")
    parser.add_argument("--to", dest="stop", metavar="TIME", help="up to here (default: now)")
    parser.add_argument("--track", metavar="NAME", help="only this track (default: all together)")
    parser.add_argument("--ascii", action="store_true", help="draw with # e . | only")
    parser.epilog = (
        "Times are in the recorder's zone.\n\nexamples:\n  recorderctl timeline door\n"
        "  recorderctl timeline door --day tuesday\n  recorderctl timeline door --from 14:00 --to 15:00"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, session: Session) -> int:
    now = recorder_now(session)
    start, stop = _window(arguments, now)
    bars = _bars(session, arguments, start, stop)
    found = timeline.Timeline(bars=bars, next=None)
    session.show(found, lambda: render(bars, start, stop, _glyphs(arguments), min(terminal_width(), 120)))
    return 0


def render(
    bars: list[timeline.Bar], start: datetime.datetime, stop: datetime.datetime, glyphs: Glyphs, width: int
) -> str:
    zone = start.tzinfo or datetime.UTC
    stretches = [Stretch(from_rfc3339(bar.start), from_rfc3339(bar.stop), _what(bar)) for bar in bars]
    out = [
        f"{spoken(start)} to {spoken(stop)}",
        ruler(start, stop, width),
        draw(stretches, to_ns(start), to_ns(stop), width, glyphs),
        f"{glyphs.recorded} recorded  {glyphs.event} on an event  {glyphs.gap} gap  {glyphs.holed} gap too short to draw  "
        "blank: nothing was to be recorded",
        "",
    ]
    rows = []
    for bar, stretch in zip(bars, stretches, strict=True):
        length_ns = stretch.stop_ns - stretch.start_ns
        if stretch.what == "recorded" or length_ns < _SHORT_NS:
            continue
        why = f"event {bar.run}" if stretch.what == "event" else (bar.cause or "unknown").replace("_", " ")
        merged = ", several together" if bar.merged else ""
        rows.append((spoken(from_ns(stretch.start_ns, zone))[4:23], age(length_ns // 1_000_000), f"{why}{merged}"))
    if rows:
        shown = rows[-_MAX_LISTED:]
        out.append(table(("FROM", "LENGTH", "WHAT"), shown, right="lr").rstrip("\n"))
        if len(rows) > len(shown):
            out.insert(-1, f"the last {len(shown)} of {len(rows)} gaps and events (--json has all)")
    else:
        out.append("no gaps" if any(s.what == "recorded" for s in stretches) else "nothing is recorded here")
    return "\n".join(out)


def _what(bar: timeline.Bar) -> What:
    if bar.cause is not None:
        return "gap"
    return "event" if bar.kind == "event" else "recorded"


def _window(arguments: argparse.Namespace, now: datetime.datetime) -> tuple[datetime.datetime, datetime.datetime]:
    if arguments.start is not None:
        start = time_argument(arguments.start, now)
        stop = now if arguments.stop is None else time_argument(arguments.stop, now)
    else:
        start = time_argument(f"{arguments.day} 0:00", now)
        stop = start.replace(tzinfo=None) + datetime.timedelta(days=1)
        stop = stop.replace(tzinfo=start.tzinfo)
    if stop <= start:
        raise Failure(f"the end, {printable(spoken(stop))}, is not after the start, {spoken(start)}", 64)
    return start, stop


def _bars(
    session: Session, arguments: argparse.Namespace, start: datetime.datetime, stop: datetime.datetime
) -> list[timeline.Bar]:
    bars: list[timeline.Bar] = []
    page: str | None = to_rfc3339(to_ns(start))
    while page is not None:
        found = session.call(
            timeline.GET_TIMELINE,
            timeline.TimelineCall(
                recording=arguments.recording, track=arguments.track, start=page, stop=to_rfc3339(to_ns(stop))
            ),
        )
        bars.extend(found.bars)
        page = found.next
    return bars


def _glyphs(arguments: argparse.Namespace) -> Glyphs:
    return UNICODE if not arguments.ascii and "utf" in (sys.stdout.encoding or "").lower() else ASCII
