"""`recorderctl devices`: cameras, and the short way from a URL to a working recording."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

import msgspec

from recorderd.ctl import hold
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.model.device import CertificateValidation, DeviceProtocol, DeviceSettings, EventTransport
from recorderd.protocol import devices
from recorderd.protocol.printable import printable

EVENT_TRANSPORTS = tuple(transport.value for transport in EventTransport)
EXAMPLES = """examples:
  recorderctl devices add rtsp://admin@192.0.2.10/stream1 --record
  recorderctl devices add rtsp://192.0.2.11/stream1 --id door --user admin --on-motion --before 5 --after 10
  recorderctl devices add rtsps://cam.example/stream1 --user admin --certificates standard --ca-file our-ca.pem
  recorderctl devices replace door --address 192.0.2.12 --user admin"""
NO_FILE = "none"  # of --ca-file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all devices").set_defaults(run=run_list)
    show = actions.add_parser("show", help="one device, in full")
    show.add_argument("device")
    show.set_defaults(run=run_show)
    add = actions.add_parser("add", help="a device from a stream's URL; the password is asked for", epilog=EXAMPLES)
    add.add_argument("url", help="rtsp://[user@]host[:port]/path")
    add.add_argument("--id", metavar="NAME", help="the device's id (default: made from the host)")
    add.add_argument("--name", help="a name for people")
    add.add_argument("--record", action="store_true", help="record continuously from now on")
    add.add_argument("--on-motion", action="store_true", help="record while the camera reports motion")
    add.add_argument("--before", type=seconds, default=0, metavar="SECONDS", help="also record this long before motion")
    add.add_argument("--after", type=seconds, default=0, metavar="SECONDS", help="and this long after it")
    _credentials(add)
    add.set_defaults(run=run_add)
    for word, text, run in (
        ("create", "a device without a stream", run_create),
        ("set", "change a device", run_set),
        ("replace", "put new hardware under an old device; its recordings stay", run_replace),
    ):
        action = actions.add_parser(word, help=text)
        action.add_argument("device")
        _settings(action)
        _credentials(action)
        action.set_defaults(run=run)
    remove = actions.add_parser("remove", help="forget a device that no job records from")
    remove.add_argument("device")
    remove.set_defaults(run=run_remove)
    hold.add_actions(actions)


def seconds(text: str) -> int:
    """Seconds of the command line as milliseconds."""
    value = float(text)
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError("0 to 86400 seconds")
    return round(value * 1000)


def _credentials(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help="user name at the device; its password is asked for")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument(
        "--allow-basic",
        action="store_true",
        default=None,
        help="send the password by Basic authentication on any connection; else only over TLS with --certificates standard",
    )
    parser.add_argument(
        "--certificates",
        choices=[c.value for c in CertificateValidation],
        help="how its certificate is checked where TLS is used: off: not; limited: for its authority; standard: also for its name",
    )
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="the authorities that may vouch for it in place of the system's, PEM, on this machine; `none`: the system's again",
    )


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--description")
    parser.add_argument("--serial", metavar="NUMBER")
    parser.add_argument("--address", metavar="HOST")
    parser.add_argument("--protocol", choices=[p.value for p in DeviceProtocol])
    parser.add_argument("--port", type=int, help="0: the protocol's default")
    parser.add_argument(
        "--events",
        choices=("on", "off", *EVENT_TRANSPORTS),
        help="listen for motion even where nothing records; `on` keeps the way they come",
    )
    parser.add_argument("--event-port", type=int, help="of the device's web server; 0: 80, with rtspsh 443")
    parser.add_argument("--model")
    parser.add_argument("--mac")
    parser.add_argument("--poe-port", metavar="LABEL")


def _given(arguments: argparse.Namespace, session: Session) -> DeviceSettings:
    password = None
    if arguments.user is not None or arguments.password_stdin:
        password = session.secret(
            f"password of {arguments.user or arguments.device}", from_stdin=arguments.password_stdin
        )
    return DeviceSettings(
        description=arguments.description,
        serial_number=arguments.serial,
        address=arguments.address,
        protocol=DeviceProtocol(arguments.protocol) if arguments.protocol else None,
        port=arguments.port,
        username=arguments.user,
        password=password,
        allow_basic=arguments.allow_basic,
        **_trust(arguments),
        events_enabled=None if arguments.events is None else arguments.events != "off",
        event_transport=EventTransport(arguments.events) if arguments.events in EVENT_TRANSPORTS else None,
        event_port=arguments.event_port,
        model=arguments.model,
        mac=arguments.mac,
        poe_port=arguments.poe_port,
    )


class _Trust(TypedDict):
    certificate_validation: CertificateValidation | None
    ca_certificates: tuple[str, ...] | None


def _trust(arguments: argparse.Namespace) -> _Trust:
    validation = CertificateValidation(arguments.certificates) if arguments.certificates else None
    if arguments.ca_file is None:
        return _Trust(certificate_validation=validation, ca_certificates=None)
    if arguments.ca_file == NO_FILE:
        return _Trust(certificate_validation=validation, ca_certificates=())
    return _Trust(certificate_validation=validation, ca_certificates=_authorities(arguments.ca_file))


def _authorities(path: str) -> tuple[str, ...]:
    """The certificates of a PEM file. Raises `Failure`."""
    # Only with --ca-file: start-up counts.
    from recorderd.model.pem import MAX_FILE_BYTES, BadCertificate, certificates_in

    name = printable(path, 200)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        return certificates_in(data.decode("latin-1"))  # what stands between certificates may be in any encoding
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}", 64) from error
    except BadCertificate as error:
        raise Failure(f"{name}: {error}", 64) from error


def all_devices(session: Session) -> list[devices.DeviceInfo]:
    return [
        x for reply in session.pages(devices.LIST, devices.ListCall(), lambda reply: reply.next) for x in reply.devices
    ]


def run_list(_: argparse.Namespace, session: Session) -> int:
    found = all_devices(session)
    rows = [
        (
            d.id,
            d.address or "-",
            d.protocol.value,
            d.username or "-",
            d.event_transport.value if d.events_enabled else "-",
            d.poe_port or "-",
            d.model,
        )
        for d in found
    ]
    session.show(
        devices.ListReply(devices=found),
        lambda: table(("DEVICE", "ADDRESS", "PROTOCOL", "USER", "EVENTS", "PORT", "MODEL"), rows),
    )
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(devices.GET, devices.DeviceCall(device=arguments.device))
    session.show(reply, lambda: fields(reply.device))
    return 0


def fields(value: msgspec.Struct) -> str:
    """A struct, one field to a line, empty ones left out; structs in it with their names in front, lists of them numbered."""
    rows = list(_flat("", msgspec.to_builtins(value)))
    width = max((len(name) for name, _ in rows), default=0) + 2
    return "\n".join(f"{name:{width}}{printable(content, 200)}" for name, content in rows)


def _flat(name: str, content: object) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, part in content.items():
            yield from _flat(f"{name} {key.replace('_', ' ')}".lstrip(), part)
    elif isinstance(content, list | tuple) and any(isinstance(part, dict) for part in content):
        for number, part in enumerate(content, 1):
            yield from _flat(f"{name} {number}", part)
    elif isinstance(content, list | tuple):
        if content:
            yield name, ", ".join(map(str, content))
    elif isinstance(content, bool):
        yield name, "yes" if content else "no"
    elif content not in ("", None):
        yield name, str(content)


def run_add(arguments: argparse.Namespace, session: Session) -> int:
    try:
        parts = urlsplit(arguments.url)
        user, inline = parts.username, parts.password
    except ValueError as error:
        raise Failure(f"not a URL: {printable(arguments.url, 100)}") from error
    password = None
    if arguments.password_stdin or ((arguments.user or user) and inline is None):
        password = session.secret(f"password of {arguments.user or user}", from_stdin=arguments.password_stdin)
    reply = session.call(
        devices.ADD,
        devices.AddCall(
            uri=arguments.url,
            device=arguments.id,
            name=arguments.name,
            username=arguments.user,
            password=password,
            allow_basic=bool(arguments.allow_basic),
            **_trust(arguments),
            record=arguments.record or arguments.on_motion,
            on_motion=arguments.on_motion,
            before_ms=arguments.before,
            after_ms=arguments.after,
        ),
    )
    session.show(reply, lambda: _added(reply, arguments.on_motion) + warned(reply.warnings))
    return 0


def warned(warnings: Sequence[str]) -> str:
    """Each on a line of its own, below what was done."""
    return "".join(f"\nwarning: {printable(text, 200)}" for text in warnings)


def _added(reply: devices.AddReply, on_motion: bool) -> str:
    name = printable(reply.device)
    if reply.recording is None:
        return f"{name}: known, with receiver {reply.receiver}. Nothing is recorded yet (--record)."
    how = "when it reports motion" if on_motion else "continuously"
    return f"{name}: recorded {how} into {reply.recording} by {reply.job}."


def run_create(arguments: argparse.Namespace, session: Session) -> int:
    call = devices.SettingsCall(device=arguments.device, settings=_given(arguments, session))
    return _done(session, session.call(devices.CREATE, call))


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    call = devices.SettingsCall(device=arguments.device, settings=_given(arguments, session))
    return _done(session, session.call(devices.UPDATE, call))


def run_replace(arguments: argparse.Namespace, session: Session) -> int:
    call = devices.SettingsCall(device=arguments.device, settings=_given(arguments, session))
    return _done(session, session.call(devices.REPLACE, call))


def _done(session: Session, reply: devices.DeviceReply) -> int:
    session.show(reply, lambda: fields(reply.device))
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(devices.DELETE, devices.DeviceCall(device=arguments.device)), str)
    return 0
