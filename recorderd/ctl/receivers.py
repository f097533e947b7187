"""`recorderctl receivers`: how the streams of devices are fetched."""

from __future__ import annotations

import argparse

import msgspec

from recorderd.ctl.devices import fields
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.model.receiver import ReceiverConfiguration, ReceiverMode, StreamOption, StreamSetup, TransportProtocol
from recorderd.protocol import receivers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all receivers and whether they are connected").set_defaults(run=run_list)
    show = actions.add_parser("show", help="one receiver, in full")
    show.add_argument("receiver")
    show.set_defaults(run=run_show)
    create = actions.add_parser(
        "create", help="a new receiver", epilog="example:\n  recorderctl receivers create --url rtsp://192.0.2.10/low"
    )
    _options(create)
    create.set_defaults(run=run_create)
    change = actions.add_parser("set", help="change a receiver")
    change.add_argument("receiver")
    _options(change)
    change.set_defaults(run=run_set)
    mode = actions.add_parser("mode", help="when it connects")
    mode.add_argument("receiver")
    mode.add_argument("mode", choices=[m.value for m in ReceiverMode])
    mode.set_defaults(run=run_mode)
    remove = actions.add_parser("remove", help="delete a receiver that no job uses")
    remove.add_argument("receiver")
    remove.set_defaults(run=run_remove)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="rtsp://host[:port]/path, or a path with --device")
    parser.add_argument("--device", help="whose credentials are used (default: the device with the URL's address)")
    parser.add_argument("--mode", choices=[m.value for m in ReceiverMode])
    parser.add_argument("--transport", choices=[t.value for t in TransportProtocol])
    parser.add_argument("--option", action="append", metavar="NAME=VALUE", help="appended to the URL, in order")
    for kind in ("audio", "video", "metadata"):
        parser.add_argument(f"--{kind}", choices=("on", "off"), help=f"whether {kind} is fetched")


def _configuration(arguments: argparse.Namespace, old: ReceiverConfiguration) -> ReceiverConfiguration:
    changes: dict[str, object] = {}
    if arguments.url is not None:
        changes["media_uri"] = arguments.url
    if arguments.device is not None:
        changes["device"] = arguments.device
    if arguments.mode is not None:
        changes["mode"] = ReceiverMode(arguments.mode)
    if arguments.transport is not None:
        changes["setup"] = StreamSetup(protocol=TransportProtocol(arguments.transport))
    if arguments.option is not None:
        pairs = [text.partition("=") for text in arguments.option]
        if not all(equals for _, equals, _ in pairs):
            raise Failure("an option is NAME=VALUE", 64)
        changes["options"] = tuple(StreamOption(name=name, value=value) for name, _, value in pairs)
    for kind in ("audio", "video", "metadata"):
        if getattr(arguments, kind) is not None:
            changes[kind] = getattr(arguments, kind) == "on"
    return msgspec.structs.replace(old, **changes)


def run_list(_: argparse.Namespace, session: Session) -> int:
    found = [
        x
        for reply in session.pages(receivers.LIST, receivers.ListCall(), lambda reply: reply.next)
        for x in reply.receivers
    ]
    rows = [(r.token, r.state.value, r.device or "-", r.configuration.media_uri or "-", r.detail) for r in found]
    session.show(
        receivers.ListReply(receivers=found), lambda: table(("RECEIVER", "STATE", "DEVICE", "URL", "WHY"), rows)
    )
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(receivers.GET, receivers.ReceiverCall(receiver=arguments.receiver))
    session.show(reply, lambda: fields(reply.receiver))
    return 0


def run_create(arguments: argparse.Namespace, session: Session) -> int:
    call = receivers.CreateCall(configuration=_configuration(arguments, ReceiverConfiguration()))
    reply = session.call(receivers.CREATE, call)
    session.show(reply, lambda: fields(reply.receiver))
    return 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    old = session.call(receivers.GET, receivers.ReceiverCall(receiver=arguments.receiver)).receiver
    call = receivers.ConfigureCall(
        receiver=arguments.receiver, configuration=_configuration(arguments, old.configuration)
    )
    session.show(session.call(receivers.CONFIGURE, call), str)
    return 0


def run_mode(arguments: argparse.Namespace, session: Session) -> int:
    call = receivers.ModeCall(receiver=arguments.receiver, mode=arguments.mode)
    session.show(session.call(receivers.SET_MODE, call), str)
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(receivers.DELETE, receivers.ReceiverCall(receiver=arguments.receiver)), str)
    return 0
