"""`recorderctl status`: one screen, worst first. Also answers when the daemon does not: from systemd and the disk."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from recorderd.ctl.session import Session
from recorderd.ctl.table import age, rate, size, table
from recorderd.protocol import system
from recorderd.protocol.client import ConnectionLost
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

_MARK = {"error": "!!", "warning": " !", "notice": "  "}
_ORDER = {"failing": 0, "connecting": 1, "waiting": 2, "recording": 3, "idle": 4}
_HEAD = ("CAMERA", "STATE", "DURABLE", "RATE", "FPS", "HOUR", "DAY", "LOSS<", "PORT")
_LINES_BESIDE_CAMERAS = 11  # headline, heads, blanks, what does not fit, disk, clock, power, board, daemon


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every camera, also where they do not fit the screen")
    parser.epilog = (
        "DURABLE is the age of the newest picture on the disk, LOSS< what a power cut can cost,\n"
        "HOUR and DAY how much of what was due is recorded.\n\n"
        "exit code: 0 all well, 1 something due is not recorded, 2 cannot tell\n\n"
        "examples:\n  recorderctl status\n  recorderctl -H admin@nvr status --json"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, session: Session) -> int:
    try:
        status = session.call(system.GET_STATUS, Nothing())
    except ConnectionLost as lost:
        if session.host is not None:
            raise
        from recorderd.ctl.without_daemon import describe  # only when the daemon is away

        print(f"recorderctl: {lost}", file=sys.stderr)
        sys.stdout.write(describe(session.socket_path))
        return 2
    rows = None if arguments.all or not sys.stdout.isatty() else os.get_terminal_size().lines
    session.show(status, lambda: render(status, rows))
    return 0 if status.well else 1


def render(status: system.Status, rows: int | None = None) -> str:
    """The screen; with `rows`, cameras that would not fit are counted instead of listed."""
    out = [_headline(status)]
    problems = list(status.problems)
    fixed = _LINES_BESIDE_CAMERAS
    most_problems = len(problems) if rows is None else max(3, min(len(problems), rows - fixed - 4))
    out.extend(_problem(problem) for problem in problems[:most_problems])
    if len(problems) > most_problems:
        out.append(f"   and {len(problems) - most_problems} more (--all, --json)")
    cameras = sorted(status.cameras, key=lambda camera: (_ORDER[camera.state], camera.name))
    room = len(cameras) if rows is None else max(1, rows - fixed - most_problems)
    if cameras:
        out.append("")
        out.extend(table(_HEAD, [_row(camera) for camera in cameras[:room]], right="llrrrrrr").splitlines())
        if len(cameras) > room:
            out.append(f"and {len(cameras) - room} more, none of them worse (--all)")
    out.extend(["", _disk(status.disk), _clock(status.clock)])
    if status.poe is not None:
        out.append(_poe(status.poe))
    if status.board is not None:
        out.append(f"board  {printable(status.board, 200)}")
    out.append(_process(status))
    return "\n".join(line[:80] if rows is not None else line for line in out) + "\n"


def _headline(status: system.Status) -> str:
    name = printable(status.name, 24)
    left = printable(status.verdict, 78 - len(name))
    return f"{left}{' ' * max(1, 80 - len(left) - len(name))}{name}"


def _problem(problem: system.Problem) -> str:
    since = f" (since {problem.since[11:19]}Z)" if problem.since else ""
    return f"{_MARK[problem.severity]} {printable(problem.subject, 20)}: {printable(problem.text, 200)}{since}"


def _row(camera: system.Camera) -> Sequence[object]:
    fps = f"{camera.frame_rate:.0f}"
    if camera.asked_frame_rate:
        fps += f"/{camera.asked_frame_rate:.0f}"
    state = camera.state if camera.due or camera.state != "recording" else "idle"
    return (
        printable(camera.name, 16),
        state,
        age(camera.durable_age_ms),
        rate(camera.bit_rate) if camera.bit_rate else "-",
        fps if camera.frame_rate else "-",
        _percent(camera.coverage_hour),
        _percent(camera.coverage_day),
        age(camera.loss_bound_ms),
        camera.port or "-",
    )


def _percent(part: float | None) -> str:
    """Rounded down: 100 % means all of it."""
    return "-" if part is None else f"{int(part * 100)}%"


def _disk(disk: system.Disk) -> str:
    words = [f"disk   {disk.state}"]
    if disk.state in ("recording", "degraded"):
        reach = f"reaches {age(disk.reach_ms)} back"
        if disk.forecast_ms is not None:
            reach += f" of {age(disk.forecast_ms)} when full"
        if disk.required_ms is not None:
            reach += f", {age(disk.required_ms)} required"
        words += [size(disk.size_bytes), reach]
        if disk.locked_bytes:
            words.append(f"{size(disk.locked_bytes)} locked")
    if disk.detail:
        words.append(printable(disk.detail, 60))
    if not disk.durable:
        words.append("NOT DURABLE: a power cut loses data (durability = none)")
    return ", ".join(words)


def _clock(clock: system.Clock) -> str:
    trust = {"none": "NOT SET SINCE POWER-ON", "rtc": "from the RTC", "operator": "set by hand", "ntp": "by NTP"}[
        clock.trust
    ]
    sign = "-" if clock.utc_offset_s < 0 else "+"
    hours, minutes = divmod(abs(clock.utc_offset_s) // 60, 60)
    return f"clock  {clock.now[:19]}Z, {printable(clock.zone, 30)} {sign}{hours:02}:{minutes:02}, {trust}"


def _poe(poe: system.Poe) -> str:
    return f"power  {printable(poe.board, 20)}: {printable(poe.summary, 120)}"


def _process(status: system.Status) -> str:
    process = status.process
    stall = f", holds {process.stall_s:.0f} s if the disk stalls" if process.stall_s is not None else ""
    ram = f"{size(process.media_ram_bytes)} of {size(process.media_ram_limit_bytes)} media RAM{stall}"
    return f"daemon {status.version}, up {age(process.uptime_ms)}, {ram}"
