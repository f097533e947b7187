"""`recorderctl events`: watch, search and raise events."""

from __future__ import annotations

import argparse
import sys

import msgspec

from recorderd.ctl.export import wire_times
from recorderd.ctl.session import Failure, Session
from recorderd.protocol import events
from recorderd.protocol.printable import printable

RECENT = 20
EXAMPLES = """examples:
  recorderctl events --follow
  recorderctl events watch --topic 'tns1:RecordingConfig//.'
  recorderctl events search --topic tns1:RecordingHistory//. --from 2026-05-04T12:00:00Z --newest
  recorderctl events emit tns1:Device/Trigger/DigitalInput --source InputToken=door --data LogicalState=true --property"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--follow", action="store_true", help="without an ACTION: go on with events as they come")
    parser.set_defaults(run=run_recent)
    actions = parser.add_subparsers(metavar="ACTION")
    watch = actions.add_parser("watch", help="events as they come; ends with Ctrl-C")
    _filter(watch)
    watch.add_argument("--count", type=int, default=0, help="end after so many")
    watch.set_defaults(run=run_watch)
    search = actions.add_parser("search", help="events of the past")
    _filter(search)
    search.add_argument("--from", dest="start", metavar="TIME", help='first moment, e.g. "2 h ago"')
    search.add_argument("--to", dest="stop", metavar="TIME", help="last moment")
    search.add_argument("--newest", action="store_true", help="newest first")
    search.add_argument("--count", type=int, default=200, help="at most so many")
    search.set_defaults(run=run_search)
    state = actions.add_parser("state", help="property events in force")
    _filter(state)
    state.set_defaults(run=run_state)
    emit = actions.add_parser("emit", help="raise an event by hand or from a script", epilog=EXAMPLES)
    emit.add_argument("topic")
    emit.add_argument("--source", action="append", default=[], metavar="NAME=VALUE")
    emit.add_argument("--data", action="append", default=[], metavar="NAME=VALUE")
    emit.add_argument("--property", action="store_true", help="the event states something that lasts until it changes")
    emit.add_argument("--delete", action="store_true", help="what a property event stated is no longer there")
    emit.set_defaults(run=run_emit)


def _filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", default="", help="a topic expression; //. at its end for a subtree")
    parser.add_argument("--where", default="", metavar="ITEM=VALUE,...", help="of source or data")


def line(event: events.EventInfo) -> str:
    items = " ".join(f"{i.name}={printable(i.value, 80)}" for i in [*event.source, *event.data])
    return f"{event.time}  {printable(event.topic, 120)}  {items}{f'  ({event.operation})' if event.operation else ''}"


def _print(session: Session, event: events.EventInfo) -> None:
    text = msgspec.json.encode(event).decode() if session.json else line(event)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_recent(arguments: argparse.Namespace, session: Session) -> int:
    """The newest events, oldest of them first; with --follow what comes then, without those that only say what holds already."""
    reply = session.call(events.SEARCH, events.SearchCall(newest_first=True))
    newest = reply.events[:RECENT]
    for event in reversed(newest):
        _print(session, event)
    if arguments.follow:
        seen = newest[0].number if newest else 0
        for watched in session.client.stream(events.WATCH, events.WatchCall()):
            if watched.event.number > seen:
                _print(session, watched.event)
    return 0


def run_watch(arguments: argparse.Namespace, session: Session) -> int:
    call = events.WatchCall(topic=arguments.topic, source=arguments.where)
    lost = 0
    for shown, reply in enumerate(session.client.stream(events.WATCH, call), 1):
        if reply.lost != lost:
            lost = reply.lost
            print(f"recorderctl: {lost} events lost so far: too slow", file=sys.stderr)
        _print(session, reply.event)
        if shown == arguments.count:
            break
    return 0


def run_search(arguments: argparse.Namespace, session: Session) -> int:
    start, stop = wire_times(session, arguments.start, arguments.stop)
    after, left = 0, arguments.count
    while left > 0:
        reply = session.call(
            events.SEARCH,
            events.SearchCall(
                topic=arguments.topic,
                source=arguments.where,
                start=start,
                stop=stop,
                after=after,
                newest_first=arguments.newest,
            ),
        )
        for event in reply.events[:left]:
            _print(session, event)
        left -= len(reply.events)
        if not reply.more:
            break
        after = reply.events[-1].number
    return 0


def run_state(arguments: argparse.Namespace, session: Session) -> int:
    after = 0
    while True:
        call = events.PropertiesCall(topic=arguments.topic, source=arguments.where, after=after)
        reply = session.call(events.PROPERTIES, call)
        for event in reply.events:
            _print(session, event)
        if not reply.more:
            return 0
        after = reply.events[-1].number


def _items(texts: list[str]) -> tuple[events.Item, ...]:
    items = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise Failure(f"{text!r}: expected NAME=VALUE", 64)
        items.append(events.Item(name=name, value=value))
    return tuple(items)


def run_emit(arguments: argparse.Namespace, session: Session) -> int:
    operation = "Deleted" if arguments.delete else "Changed" if arguments.property else ""
    call = events.EmitCall(
        topic=arguments.topic, source=_items(arguments.source), data=_items(arguments.data), operation=operation
    )
    session.show(session.call(events.EMIT, call), str)
    return 0
