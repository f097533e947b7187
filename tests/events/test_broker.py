"""The broker: properties, listeners, subscriptions, history."""

from __future__ import annotations

import asyncio

from recorderd.events.broker import QUEUE_EVENTS, Broker, Lost
from recorderd.events.filter import parse_condition
from recorderd.events.history import History, Record
from recorderd.model.ports import Event
from tests.simulated_time import FakeClock


def broker(limit_bytes: int = 1 << 20) -> tuple[Broker, FakeClock, list[Event]]:
    clock = FakeClock()
    made = Broker(clock=clock, history=History(limit_bytes=limit_bytes))
    heard: list[Event] = []
    made.listen(heard.append)
    return made, clock, heard


def prop(value: str, operation: str = "Changed", source: str = "a") -> Event:
    return Event("tns1:X/State", (("Token", source),), (("State", value),), operation)


def test_properties_are_told_when_they_change_and_only_then() -> None:
    made, _, heard = broker()
    for event in (
        prop("1"),
        prop("1"),
        prop("0"),
        prop("0", "Initialized"),
        prop("1", source="b"),
        prop("0", "Deleted"),
    ):
        made.publish(event)
    made.publish(prop("0", "Deleted"))
    assert [(e.operation, dict(e.source)["Token"], dict(e.data)["State"]) for e in heard] == [
        ("Initialized", "a", "1"),
        ("Changed", "a", "0"),
        ("Initialized", "b", "1"),
        ("Deleted", "a", "0"),
    ]
    assert [dict(e.source)["Token"] for e in made.properties()] == ["b"]


def test_an_event_published_by_a_listener_waits_its_turn() -> None:
    made, _, heard = broker()

    def answer(event: Event) -> None:
        if event.topic == "tns1:Question":
            made.publish(Event("tns1:Answer"))

    made.listen(answer)
    second: list[str] = []
    made.listen(lambda event: second.append(event.topic))
    made.publish(Event("tns1:Question"))
    assert [e.topic for e in heard] == second == ["tns1:Question", "tns1:Answer"], "every listener hears the same order"


def test_a_subscription_begins_with_what_holds_and_counts_what_it_lost() -> None:
    async def main() -> None:
        made, clock, _ = broker()
        made.publish(prop("1"))
        made.publish(Event("tns1:Other"))
        subscription = made.subscribe(parse_condition("tns1:X//."))
        first = await subscription.next()
        assert isinstance(first, Record)
        assert first.event.operation == "Initialized"
        for number in range(QUEUE_EVENTS + 5):
            clock.advance(1)
            made.publish(prop(f"v{number}"))
        found = await subscription.next()
        assert isinstance(found, Lost)
        assert found.count == 5
        following = await subscription.next()
        assert isinstance(following, Record)
        assert dict(following.event.data)["State"] == "v5"
        subscription.close()
        made.publish(prop("x"))

    asyncio.run(main())


def test_history_is_bounded_and_searchable() -> None:
    made, clock, _ = broker(limit_bytes=100_000)
    for number in range(500):
        clock.advance(1)
        made.publish(Event("tns1:Even" if number % 2 == 0 else "tns1:Odd", (("n", str(number)),)))
    history = made.history
    assert 150 < len(history) < 250
    found = history.search(condition=parse_condition("tns1:Odd"), limit=10)
    assert len(found) == 10
    assert all(r.event.topic == "tns1:Odd" for r in found)
    following = history.search(condition=parse_condition("tns1:Odd"), limit=10, after=found[-1].number)
    assert following[0].number == found[-1].number + 2
    newest = history.search(limit=3, newest_first=True)
    assert [dict(r.event.source)["n"] for r in newest] == ["499", "498", "497"]
    earlier = history.search(limit=1, newest_first=True, after=newest[-1].number)
    assert dict(earlier[0].event.source)["n"] == "496"
    start = newest[-1].event.utc_ns
    assert len(history.search(start_ns=start)) == 3
    assert len(history.search(start_ns=start, stop_ns=start + 1)) == 1
    assert history.search(condition=parse_condition("tns1:Odd", "n=499"))[0].number == newest[0].number


def test_numbers_go_on_after_a_restart() -> None:
    first = History().add(Event("tns1:A", utc_ns=1, boottime_ns=1))
    restored = History()
    restored.restore([first])
    assert restored.add(Event("tns1:B", utc_ns=2, boottime_ns=2)).number == first.number + 1
