"""JobState comes with the change that makes it, not with the tick that follows."""

from __future__ import annotations

import msgspec

from recorderd.model.causes import GapCause, RecordingState
from recorderd.model.job import EventCondition, EventFilter
from recorderd.model.ports import StoreUnavailable
from recorderd.model.receiver import Receiver, ReceiverMode
from recorderd.recording.topics import JOB_STATE
from tests.recording.fakes import VIDEO
from tests.recording.house import House

TOPIC = "tns1:VideoSource/MotionAlarm"


def told(house: House) -> list[str]:
    """The states that events have told, oldest first."""
    return [dict(event.data)["State"] for event in house.ears.of(JOB_STATE)]


def configure(house: House, receiver: Receiver, **changes: object) -> Receiver:
    """Changes the receiver alone; no object of the job is touched."""
    changed = msgspec.structs.replace(
        receiver, configuration=msgspec.structs.replace(receiver.configuration, **changes)
    )
    draft = house.draft()
    draft.receivers.put(changed)
    house.commit(draft)
    return changed


def test_a_change_of_the_receiver_alone() -> None:
    house = House()
    house.recording()
    receiver = house.receiver()
    house.job("j1")
    house.source.refuse(receiver.id, GapCause.CAMERA_UNREACHABLE, "no answer")
    assert (told(house)[-1], house.state("j1").sources[0].tracks[0].error) == ("Error", "Camera unreachable")
    resting = configure(house, receiver, mode=ReceiverMode.NEVER_CONNECT)
    assert (told(house)[-1], house.state("j1").state) == ("Idle", RecordingState.IDLE)
    nowhere = configure(house, resting, mode=ReceiverMode.AUTO_CONNECT, media_uri="")
    assert (told(house)[-1], house.state("j1").sources[0].tracks[0].error) == ("Error", "Receiver has no media URI")
    configure(house, nowhere, media_uri="rtsp://192.0.2.1/again")
    assert told(house)[-1] == "Idle", "it connects"


def test_a_disk_that_refuses_the_first_data_of_an_event() -> None:
    house = House()
    house.recording()
    receiver = house.receiver()
    event_filter = EventFilter(conditions=(EventCondition(topic=TOPIC),), before_ms=0, after_ms=60_000)
    house.job("j1", event_filter=event_filter)
    house.source.connect(receiver.id, (VIDEO,))
    house.event(TOPIC, {"Source": "0"}, {"State": "true"})
    house.store.refuses = StoreUnavailable(GapCause.DISK_MISSING, "no disk")
    for _ in range(3):  # what is held back at first needs its successor
        house.clock.advance(0.1)
        house.source.frame(receiver.id)
    assert told(house)[-1] == "Error"
    assert house.state("j1").sources[0].tracks[0].error == "No disk"
