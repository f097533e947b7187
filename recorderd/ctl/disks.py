"""`recorderctl disks`: what is there, preparing one for recordings, letting go of it, its health."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from functools import partial

from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import size, table
from recorderd.protocol import storage
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

EXAMPLES = """examples:
  recorderctl disks list
  recorderctl disks format /dev/sda --objects 50G
  recorderctl disks unmount /dev/sda && recorderctl disks check /dev/sda"""
_SIZE = re.compile(r"(\d{1,9})([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all disks and what they hold").set_defaults(run=run_list)
    make = actions.add_parser("format", help="erase a disk and make a ring on it", epilog=EXAMPLES)
    make.add_argument("device")
    make.add_argument(
        "--objects", type=bytes_of, default=0, metavar="SIZE", help="set aside a second partition for exports (50G)"
    )
    make.add_argument("--file-system", choices=("ext4", "xfs"), default="ext4")
    make.add_argument("--yes", action="store_true", help="do not ask")
    make.set_defaults(run=run_format)
    for name, text, repair in (
        ("check", "check the file system of an unmounted disk", False),
        ("repair", "mend it", True),
    ):
        check = actions.add_parser(name, help=text)
        check.add_argument("device")
        check.set_defaults(run=run_check, repair=repair)
    mount = actions.add_parser("mount", help="use the ring of a disk")
    mount.add_argument("device")
    mount.set_defaults(run=run_mount)
    unmount = actions.add_parser("unmount", help="end recording to a disk in good order")
    unmount.add_argument("device")
    unmount.add_argument("--yes", action="store_true", help="do not ask")
    unmount.set_defaults(run=run_unmount)
    health = actions.add_parser("health", help="what a disk says of itself")
    health.add_argument("device", nargs="?", help="default: every disk")
    health.set_defaults(run=run_health)


def bytes_of(text: str) -> int:
    """`50G` in bytes, in binary units."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("expected a size such as 50G")
    return int(match[1]) << (10 * _POWER[match[2].upper()])


def run_list(_arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(storage.LIST_DISKS, Nothing())
    rows = [
        (
            disk.device,
            size(disk.size_bytes),
            disk.model or "-",
            "the ring in use" if disk.ring else "the system" if disk.system else disk.holds,
            ", ".join(part.mounted_at for part in disk.parts if part.mounted_at) or "-",
        )
        for disk in reply.disks
    ]
    session.show(reply, lambda: table(("DISK", "SIZE", "MODEL", "HOLDS", "MOUNTED AT"), rows, right=" r"))
    return 0


def run_format(arguments: argparse.Namespace, session: Session) -> int:
    disk = _disk(session, arguments.device)
    if disk.system:
        raise Failure(f"{disk.device} carries the running system")
    model = printable(disk.model) or "unknown model"
    question = f"Formatting erases {disk.device} ({model}, {size(disk.size_bytes)}). It holds: {printable(disk.holds)}.\nGo on?"
    if not arguments.yes and not session.ask(question):
        raise Failure("nothing was changed")
    call = storage.FormatCall(
        device=disk.device,
        holds=disk.holds,
        file_system=arguments.file_system,
        objects_bytes=arguments.objects,
        confirm=True,
    )
    return follow(session, (reply.progress for reply in session.client.stream(storage.FORMAT_DISK, call)))


def run_check(arguments: argparse.Namespace, session: Session) -> int:
    call = storage.CheckCall(device=arguments.device, repair=arguments.repair)
    return follow(session, (reply.progress for reply in session.client.stream(storage.CHECK_DISK, call)))


def run_mount(arguments: argparse.Namespace, session: Session) -> int:
    session.call(storage.MOUNT_DISK, storage.DeviceCall(device=arguments.device))
    return 0


def run_unmount(arguments: argparse.Namespace, session: Session) -> int:
    call = storage.UnmountCall(device=arguments.device, confirm=False)
    session.call_confirmed(storage.UNMOUNT_DISK, call, yes=arguments.yes)
    return 0


def run_health(arguments: argparse.Namespace, session: Session) -> int:
    """Exit code 1 when a disk is failing."""
    disks = (
        [arguments.device]
        if arguments.device
        else [d.device for d in session.call(storage.LIST_DISKS, Nothing()).disks]
    )
    failing = False
    for device in disks:
        health = session.call(storage.GET_HEALTH, storage.DeviceCall(device=device))
        failing |= health.verdict == "failing"
        session.show(health, partial(render_health, device, health))
    return 1 if failing else 0


def render_health(device: str, health: storage.Health) -> str:
    facts = [
        (f"{health.temperature_c} degrees C", health.temperature_c),
        (f"{health.power_on_hours} hours in use", health.power_on_hours),
        (f"{size(health.bytes_per_day or 0)} written a day", health.bytes_per_day),
    ]
    known = ", ".join(text for text, value in facts if value is not None)
    lines = [f"{device}: {health.verdict}{f' ({known})' if known else ''}"]
    return "\n".join([*lines, *(f"  {printable(word, 200)}" for word in health.words)])


def follow(session: Session, steps: Iterable[storage.Progress]) -> int:
    """Shows the progress of long work; exit code 0 when it came to what was wanted."""
    last: storage.Progress | None = None
    shown = ""
    for step in steps:
        last = step
        line = f"{step.text}: {step.done} of {step.total}" if step.total else step.text
        if not step.finished and line != shown and sys.stderr.isatty():
            print(f"\r\x1b[K{printable(line, 100)}", end="", file=sys.stderr, flush=True)
            shown = line
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if last is None:
        raise Failure("the recorder gave no answer")
    final = last
    session.show(final, lambda: printable(final.result or final.text, 1000))
    return 0 if final.ok else 1


def _disk(session: Session, device: str) -> storage.Disk:
    for disk in session.call(storage.LIST_DISKS, Nothing()).disks:
        if disk.device == device:
            return disk
    raise Failure(f"there is no disk {device}; `recorderctl disks list` shows them")
