"""The face of `io.recorderd.Events`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from recorderd.control.dispatch import Dispatch, Last
from recorderd.control.peer import Peer
from recorderd.control.refusals import wall_ns
from recorderd.events.broker import Broker, Lost, check_event
from recorderd.events.filter import BadFilter, Condition, parse_items, parse_topics
from recorderd.events.history import Record
from recorderd.model.ports import Event
from recorderd.protocol import events as protocol
from recorderd.protocol.errors import InvalidArgument
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.protocol.wall import to_rfc3339

PAGE = 200


class EventsFace:
    def __init__(self, *, broker: Broker) -> None:
        self._broker = broker

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.EMIT, self._emit)
        table.stream(protocol.WATCH, self._watch)
        table.reply(protocol.SEARCH, self._search)
        table.reply(protocol.PROPERTIES, self._properties)

    async def _emit(self, call: protocol.EmitCall, _: Peer) -> Nothing:
        event = Event(
            call.topic,
            tuple((item.name, item.value) for item in call.source),
            tuple((item.name, item.value) for item in call.data),
            call.operation,
        )
        try:
            check_event(event)
        except BadFilter as error:
            raise InvalidArgument("event", str(error), printable(call.topic, 80)) from error
        self._broker.publish(event)
        return Nothing()

    async def _watch(
        self, call: protocol.WatchCall, _: Peer
    ) -> AsyncIterator[protocol.WatchReply | Last[protocol.WatchReply]]:
        subscription = self._broker.subscribe(condition(call.topic, call.source), properties=call.properties)
        lost = 0
        try:
            while True:
                found = await subscription.next()
                if isinstance(found, Lost):
                    lost += found.count
                else:
                    yield protocol.WatchReply(event=event_info(found), lost=lost)
        finally:
            subscription.close()

    async def _search(self, call: protocol.SearchCall, _: Peer) -> protocol.EventsReply:
        records = self._broker.history.search(
            condition=condition(call.topic, call.source),
            start_ns=wall_ns(call.start, "start"),
            stop_ns=wall_ns(call.stop, "stop"),
            after=call.after,
            limit=PAGE + 1,
            newest_first=call.newest_first,
        )
        return protocol.EventsReply(events=[event_info(r) for r in records[:PAGE]], more=len(records) > PAGE)

    async def _properties(self, call: protocol.PropertiesCall, _: Peer) -> protocol.EventsReply:
        held = [r for r in self._broker.property_records(condition(call.topic, call.source)) if r.number > call.after]
        held.sort(key=lambda record: record.number)
        return protocol.EventsReply(events=[event_info(r) for r in held[:PAGE]], more=len(held) > PAGE)


def condition(topic: str, source: str) -> Condition | None:
    """Raises `InvalidArgument`."""
    if not topic and not source:
        return None
    try:
        topics = parse_topics(topic) if topic else ()
    except BadFilter as error:
        raise InvalidArgument("topic", str(error), printable(topic, 80)) from error
    try:
        return Condition(topics, parse_items(source))
    except BadFilter as error:
        raise InvalidArgument("source", str(error), printable(source, 80)) from error


def event_info(record: Record) -> protocol.EventInfo:
    event = record.event
    return protocol.EventInfo(
        number=record.number,
        time=to_rfc3339(event.utc_ns),
        topic=event.topic,
        source=[protocol.Item(name=name, value=value) for name, value in event.source],
        data=[protocol.Item(name=name, value=value) for name, value in event.data],
        operation=event.operation,
    )
