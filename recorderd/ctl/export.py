"""`recorderctl export` and `recorderctl snapshot`."""

from __future__ import annotations

import argparse
import datetime
import sys

from msgspec.structs import replace

from recorderd.ctl.download import check_target, target
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import age, size
from recorderd.ctl.when import NotATime, from_ns, parse, spoken, to_ns, zone_of
from recorderd.protocol import media, system
from recorderd.protocol.message import Message, Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import from_rfc3339, to_rfc3339

EXAMPLES = """\
Times are in the recorder's zone unless they carry an offset.

examples:
  recorderctl export door --from "last tuesday 14:03" --to "last tuesday 14:20" -o door.mp4
  recorderctl export door --from "yesterday 14:03" --for 10m -o door.mp4 --audio aac
  recorderctl -H admin@nvr export door --from 14:03 --to 14:05 -o - | ffplay -"""


class Exported(Message, frozen=True):
    """What `--json` prints after an export."""

    file: str
    start: str
    stop: str
    bytes: int
    gaps: list[media.Gap]
    notes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    snapshot = parser.prog.endswith("snapshot")
    parser.add_argument("recording", help="its name or token")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; - for standard output")
    parser.add_argument("--force", action="store_true", help="replace FILE when it exists")
    if snapshot:
        parser.add_argument("--at", metavar="TIME", help="the picture nearest to this time; default: the newest")
        parser.add_argument("--width", type=int, metavar="PIXELS", help="at most this wide")
        parser.epilog = 'example:\n  recorderctl snapshot door --at "yesterday 14:03" -o door.jpg'
        parser.set_defaults(run=run_snapshot)
        return
    parser.add_argument("--from", dest="start", required=True, metavar="TIME", help="first moment")
    parser.add_argument("--to", dest="stop", metavar="TIME", help="last moment")
    parser.add_argument("--for", dest="length", metavar="LENGTH", help="instead of --to: 90s, 10m, 2h")
    parser.add_argument("--track", action="append", default=[], metavar="NAME", help="only this track (may repeat)")
    parser.add_argument(
        "--audio", choices=("copy", "aac", "none"), default="copy", help="copy as recorded (default), as AAC, or none"
    )
    parser.epilog = EXAMPLES
    parser.set_defaults(run=run_export)


def recorder_now(session: Session) -> datetime.datetime:
    """The recorder's time in the recorder's zone."""
    clock = session.call(system.GET_STATUS, Nothing()).clock
    return from_ns(from_rfc3339(clock.now), zone_of(clock.zone, clock.utc_offset_s))


def time_argument(text: str, now: datetime.datetime) -> datetime.datetime:
    try:
        return parse(text, now)
    except NotATime as error:
        raise Failure(str(error), 64) from error


def wire_times(session: Session, *texts: str | None) -> list[str | None]:
    """What a person says, as the recorder takes it; nothing stays nothing. Its clock is asked only for what depends on it."""
    if all(text is None or _is_wire_time(text) for text in texts):
        return list(texts)
    now = recorder_now(session)
    return [None if text is None else to_rfc3339(to_ns(time_argument(text, now))) for text in texts]


def _is_wire_time(text: str) -> bool:
    try:
        from_rfc3339(text)
    except ValueError:
        return False
    return True


def run_export(arguments: argparse.Namespace, session: Session) -> int:
    check_target(arguments.output, force=arguments.force)
    now = recorder_now(session)
    start = time_argument(arguments.start, now)
    stop = _stop(arguments, start, now)
    call = media.ExportCall(
        recording=arguments.recording,
        start=to_rfc3339(to_ns(start)),
        stop=to_rfc3339(to_ns(stop)),
        tracks=tuple(arguments.track),
        audio=arguments.audio,
        fragmented=arguments.output == "-",
    )
    zone = now.tzinfo or datetime.UTC
    with target(arguments.output, force=arguments.force) as file:
        handed = session.client.local and file.may_be_handed_over
        if handed:
            reply, download = session.client.hand_over(media.EXPORT, replace(call, hand_over=True), file.fd)
        else:
            reply, download = session.client.upgrade(media.EXPORT, call)
        _say(f"from {_spoken(reply.start, zone)} to {_spoken(reply.stop, zone)}", session)
        trailer = (file.watch if handed else file.take)(download, estimated_bytes=reply.estimated_bytes)
    for gap in reply.gaps:
        length = age((from_rfc3339(gap.stop) - from_rfc3339(gap.start)) // 1_000_000)
        _say(f"gap in {printable(gap.track)} at {_spoken(gap.start, zone)}, {length}: {printable(gap.cause)}", session)
    for note in trailer.notes:
        _say(printable(note, 200), session)
    if arguments.output != "-":
        done = Exported(
            file=arguments.output,
            start=reply.start,
            stop=reply.stop,
            bytes=trailer.bytes,
            gaps=reply.gaps,
            notes=trailer.notes,
        )
        session.show(done, lambda: f"{arguments.output}: {size(trailer.bytes)}")
    return 0


def run_snapshot(arguments: argparse.Namespace, session: Session) -> int:
    check_target(arguments.output, force=arguments.force)
    now = recorder_now(session)
    at = None if arguments.at is None else to_rfc3339(to_ns(time_argument(arguments.at, now)))
    call = media.SnapshotCall(recording=arguments.recording, at=at, width=arguments.width)
    with target(arguments.output, force=arguments.force) as file:
        reply, download = session.client.upgrade(media.SNAPSHOT, call)
        trailer = file.take(download)
    _say(f"{_spoken(reply.at, now.tzinfo or datetime.UTC)}, {size(trailer.bytes)}", session)
    return 0


def _stop(arguments: argparse.Namespace, start: datetime.datetime, now: datetime.datetime) -> datetime.datetime:
    if (arguments.stop is None) == (arguments.length is None):
        raise Failure("give either --to TIME or --for LENGTH", 64)
    if arguments.stop is not None:
        stop = time_argument(arguments.stop, now)
    else:
        stop = start + (now - time_argument(f"-{arguments.length}", now))
    if stop <= start:
        raise Failure(f"the end, {spoken(stop)}, is not after the start, {spoken(start)}", 64)
    return stop


def _spoken(rfc3339: str, zone: datetime.tzinfo) -> str:
    return spoken(from_ns(from_rfc3339(rfc3339), zone))


def _say(line: str, session: Session) -> None:
    """To the person: standard output may carry the media or JSON."""
    if not session.json:
        print(line, file=sys.stderr)
