"""`recorderctl devices hold` and `holds`: the rescue leaves a camera alone while somebody works on it."""

from __future__ import annotations

import argparse
import re

from recorderd.ctl.session import Session
from recorderd.ctl.table import table
from recorderd.protocol import poe
from recorderd.protocol.message import Nothing

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    hold = actions.add_parser(
        "hold",
        help="the rescue does not switch the device off and on",
        epilog="examples:\n  recorderctl devices hold door --for 30m\n  recorderctl devices hold door --end",
    )
    hold.add_argument("device")
    how = hold.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--for", dest="for_ms", type=duration_ms, metavar="TIME", help="e.g. 45s, 30m, 2h, 1d (at most 30d)"
    )
    how.add_argument("--end", action="store_true", help="end the hold now")
    hold.set_defaults(run=run_hold)
    actions.add_parser("holds", help="the holds in force").set_defaults(run=run_holds)


def duration_ms(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,5})([smhd])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError("a number with s, m, h or d, such as 30m")
    return int(found[1]) * _UNITS_MS[found[2]]


def run_hold(arguments: argparse.Namespace, session: Session) -> int:
    for_ms = 0 if arguments.end else arguments.for_ms
    session.call(poe.HOLD_DEVICE, poe.HoldCall(device=arguments.device, for_ms=for_ms))
    return 0


def run_holds(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    reply = session.call(poe.LIST_HOLDS, Nothing())
    session.show(reply, lambda: table(("DEVICE", "UNTIL"), [(h.device, f"{h.until[:19]}Z") for h in reply.holds]))
    return 0
