"""`recorderctl groups`: recording groups."""

from __future__ import annotations

import argparse

from recorderd.ctl.devices import fields, seconds, warned
from recorderd.ctl.session import Session
from recorderd.ctl.table import table
from recorderd.model.group import GroupSettings
from recorderd.model.job import EventCondition
from recorderd.protocol import groups
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

EXAMPLES = """examples:
  recorderctl groups create front --options 'device=door&resolution=1280x720&fps=15&videozgopmode=fixed' --before 5 --after 10
  recorderctl groups start front --on tns1:RuleEngine/tnsaxis:UniversalMotionDetection --where device=door"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all groups").set_defaults(run=run_list)
    show = actions.add_parser("show", help="one group, in full")
    show.add_argument("group")
    show.set_defaults(run=run_show)
    for word, text, run in (("create", "a new group", run_create), ("set", "change a group", run_set)):
        action = actions.add_parser(word, help=text, epilog=EXAMPLES)
        action.add_argument("group")
        action.add_argument("--name")
        action.add_argument("--description")
        action.add_argument("--disk", help="cannot be changed later")
        action.add_argument("--keep-hours", type=int, metavar="HOURS", help="0: as long as there is room")
        action.add_argument("--options", metavar="STREAM_OPTIONS", help="device=ID&name=value&...")
        action.add_argument("--before", type=seconds, metavar="SECONDS")
        action.add_argument("--after", type=seconds, metavar="SECONDS")
        action.set_defaults(run=run)
    start = actions.add_parser("start", help="record into a group: always, or on events")
    start.add_argument("group")
    start.add_argument("--on", action="append", metavar="TOPIC", default=[])
    start.add_argument("--where", metavar="ITEM=VALUE,...", default="")
    start.set_defaults(run=run_start)
    stop = actions.add_parser("stop", help="stop recording into a group")
    stop.add_argument("group")
    stop.set_defaults(run=run_stop)
    remove = actions.add_parser("remove", help="delete a group with its recordings")
    remove.add_argument("group")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(run=run_remove)


def _settings(arguments: argparse.Namespace) -> GroupSettings:
    return GroupSettings(
        nice_name=arguments.name,
        description=arguments.description,
        disk_id=arguments.disk,
        retention_hours=arguments.keep_hours,
        stream_options=arguments.options,
        pre_duration_ms=arguments.before,
        post_duration_ms=arguments.after,
    )


def run_list(_: argparse.Namespace, session: Session) -> int:
    reply = session.call(groups.LIST, Nothing())
    rows = [(g.id, g.nice_name or "-", g.recording, g.job or "-", g.stream_options or "-") for g in reply.groups]
    session.show(reply, lambda: table(("GROUP", "NAME", "RECORDING", "JOB", "OPTIONS"), rows))
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(groups.GET, groups.GroupCall(group=arguments.group))
    session.show(reply, lambda: fields(reply.group))
    return 0


def _put(session: Session, reply: groups.PutReply) -> int:
    session.show(reply, lambda: fields(reply.group) + warned(reply.warnings))
    return 0


def run_create(arguments: argparse.Namespace, session: Session) -> int:
    call = groups.SettingsCall(group=arguments.group, settings=_settings(arguments))
    return _put(session, session.call(groups.CREATE, call))


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    call = groups.SettingsCall(group=arguments.group, settings=_settings(arguments))
    return _put(session, session.call(groups.UPDATE, call))


def run_start(arguments: argparse.Namespace, session: Session) -> int:
    conditions = tuple(EventCondition(topic=topic, source=arguments.where) for topic in arguments.on)
    reply = session.call(groups.START, groups.StartCall(group=arguments.group, conditions=conditions))
    session.show(reply, lambda: f"{printable(arguments.group)}: recorded by {reply.job}" + warned(reply.warnings))
    return 0


def run_stop(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(groups.STOP, groups.GroupCall(group=arguments.group)), str)
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    call = groups.DeleteCall(group=arguments.group)
    session.show(session.call_confirmed(groups.DELETE, call, yes=arguments.yes), str)
    return 0
