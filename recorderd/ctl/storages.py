"""`recorderctl storages`: where exports can be written to."""

from __future__ import annotations

import argparse

from recorderd.ctl.devices import fields
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.model.destination import DESTINATION_TYPES, HTTP, LOCAL, PINNED, S3
from recorderd.protocol import exports, groups
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

EXAMPLES = """examples:
  recorderctl storages add folder cases
  recorderctl storages add s3 https://s3.eu-central-1.amazonaws.com/evidence/site-2 --region eu-central-1 --user AKIA...
  recorderctl storages add http https://nas.example/upload --user recorder --certificate sha256:9f86d0...
  recorderctl storages test storage-1"""

_KINDS = {"folder": LOCAL, "http": HTTP, "s3": S3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all storages").set_defaults(run=run_list)
    for word, text, run in (
        ("show", "one storage", run_show),
        ("test", "write a few bytes to it and remove them", run_test),
    ):
        action = actions.add_parser(word, help=text)
        action.add_argument("storage")
        action.set_defaults(run=run)
    add = actions.add_parser("add", help="a new storage; its password is asked for", epilog=EXAMPLES)
    add.add_argument(
        "kind", metavar="KIND", help=f"folder, http, s3, or one of ONVIF's: {', '.join(DESTINATION_TYPES)}"
    )
    add.add_argument(
        "place",
        metavar="PLACE",
        help="the folder below the recorder's folder for exports, or the URL of folder or bucket",
    )
    _options(add)
    add.set_defaults(run=run_add)
    change = actions.add_parser("set", help="change a storage; what is not given stays", epilog=EXAMPLES)
    change.add_argument("storage")
    change.add_argument("--place", metavar="PLACE")
    _options(change)
    change.set_defaults(run=run_set)
    remove = actions.add_parser("remove", help="forget a storage that no recording names; what is in it stays")
    remove.add_argument("storage")
    remove.set_defaults(run=run_remove)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help="the user, or the access key of S3")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password (the secret key) from standard input"
    )
    parser.add_argument("--region", metavar="NAME", help="of S3; default: us-east-1")
    parser.add_argument(
        "--certificate", metavar="FINGERPRINT", help=f"accept this certificate and no other: {PINNED}HEX; empty: the system's authorities"
    )  # fmt: skip


def _secrets(arguments: argparse.Namespace, session: Session) -> dict[str, str]:
    if not arguments.user and not arguments.password_stdin:
        return {}
    return {"password": session.secret(f"password of {arguments.user}", from_stdin=arguments.password_stdin)}


def run_list(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(groups.LIST_DESTINATIONS, Nothing())
    rows = [
        (d.token, d.type, d.local_path or d.storage_uri or "-", d.region or "-", d.username or "-")
        for d in reply.destinations
    ]
    session.show(reply, lambda: table(("STORAGE", "TYPE", "PLACE", "REGION", "USER"), rows))
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(groups.GET_DESTINATION, groups.DestinationCall(destination=arguments.storage))
    session.show(reply, lambda: fields(reply.destination))
    return 0


def run_test(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(exports.TRY, exports.TryCall(storage=arguments.storage))
    session.show(reply, lambda: "works" if reply.works else f"does not work: {printable(reply.reason, 400)}")
    return 0 if reply.works else 1


def run_add(arguments: argparse.Namespace, session: Session) -> int:
    kind = _KINDS.get(arguments.kind, arguments.kind)
    if kind not in DESTINATION_TYPES:
        raise Failure(f"{printable(arguments.kind)!r} is none of folder, http, s3, {', '.join(DESTINATION_TYPES)}", 64)
    call = groups.CreateDestinationCall(
        type=kind,
        storage_uri="" if kind == LOCAL else arguments.place,
        local_path=arguments.place if kind == LOCAL else "",
        region=arguments.region or "",
        username=arguments.user or "",
        certificate_policy=arguments.certificate or "",
        secrets=_secrets(arguments, session),
    )
    reply = session.call(groups.CREATE_DESTINATION, call)
    session.show(reply, lambda: f"{reply.token}\ntry it: recorderctl storages test {reply.token}")
    return 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    old = session.call(groups.GET_DESTINATION, groups.DestinationCall(destination=arguments.storage)).destination

    def chosen(given: str | None, held: str) -> str:
        return held if given is None else given

    local = old.type == LOCAL
    call = groups.SetDestinationCall(
        destination=old.token,
        type=old.type,
        storage_uri=old.storage_uri if local else chosen(arguments.place, old.storage_uri),
        local_path=chosen(arguments.place, old.local_path) if local else old.local_path,
        region=chosen(arguments.region, old.region),
        username=chosen(arguments.user, old.username),
        certificate_policy=chosen(arguments.certificate, old.certificate_policy),
        secrets=_secrets(arguments, session),
    )
    session.show(session.call(groups.SET_DESTINATION, call), str)
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    call = groups.DestinationCall(destination=arguments.storage)
    session.show(session.call(groups.DELETE_DESTINATION, call), str)
    return 0
