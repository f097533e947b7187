"""Camera events: documents of real shapes, hostile ones, the worker's cage, and UniversalMotionDetection."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.events.broker import Broker
from recorderd.events.camera_xml import parse_document
from recorderd.events.cameras import MAX_STATED, UNIVERSAL_MOTION, CameraEvents
from recorderd.events.history import History
from recorderd.events.motion import motion_state
from recorderd.events.notification import MAX_DOCUMENT_BYTES, BadDocument
from recorderd.events.reader import Reader
from recorderd.model.clock import SystemClock
from recorderd.model.ports import Event
from tests.events.documents import document, motion
from tests.events.hearing import ReadHere
from tests.simulated_time import FakeClock

ONE, TWO = uuid.UUID(int=7), uuid.UUID(int=8)


def test_an_axis_and_an_onvif_notification() -> None:
    (axis,) = parse_document(motion(True))
    assert axis.topic == "tnsaxis:CameraApplicationPlatform/VMD/Camera1Profile1"
    assert (axis.data, axis.operation) == ((("active", "1"),), "Changed")
    (onvif,) = parse_document(
        document("tns1:VideoSource/MotionAlarm", {"Source": "0"}, {"State": "true"}, "Initialized")
    )
    assert (onvif.source, onvif.operation) == ((("Source", "0"),), "Initialized")


def test_prefixes_are_the_documents_own() -> None:
    sent = document("a:RuleEngine/b:VMD3/vmd3_video_1", {"areaid": "0"}, {"active": "1"}, tns1="a", axis="b")
    assert parse_document(sent)[0].topic == "tns1:RuleEngine/tnsaxis:VMD3/vmd3_video_1"


def test_documents_without_notifications_are_empty() -> None:
    assert parse_document(b'<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"/>') == []


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
EXTERNAL = b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"<a>",
        BOMB,
        EXTERNAL,
        b"<a>" * 40 + b"</a>" * 40,
        b"<r>" + b"<a/>" * 9000 + b"</r>",
        b"<a>&undefined;</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<?xml version="1.0" encoding="shift_jis"?><a/>',
        b'<?xml version="1.0" encoding="base64"?><a/>',
        b"\xff\xfe\x00",
        b"x" * (MAX_DOCUMENT_BYTES + 1),
        document("tns1:" + "x" * 300, {}, {}),
        document("tns1:A", {}, {"v": "x" * 2000}),
        document("tns1:A", {f"n{i}": "v" for i in range(100)}, {}),
    ],
)
def test_hostile_documents_are_refused(hostile: bytes) -> None:
    with pytest.raises(BadDocument):
        parse_document(hostile)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 900), st.integers(0, 40))
def test_a_damaged_document_is_read_or_refused(noise: bytes, at: int, cut: int) -> None:
    whole = document("tns1:VideoSource/MotionAlarm", {"Source": "0"}, {"State": "true"})
    try:
        parse_document(whole[:at] + noise + whole[at + cut :])
    except BadDocument as refusal:
        assert str(refusal)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("tnsaxis:CameraApplicationPlatform/VMD/Camera1Profile2", True),
        ("tnsaxis:CameraApplicationPlatform/VMD/Camera1ProfileANY", True),
        ("tnsaxis:CameraApplicationPlatform/VMD/xinternal_data", None),
        ("tns1:RuleEngine/tnsaxis:VMD3/vmd3_video_1", True),
        ("tns1:RuleEngine/tnsaxis:VideoMotionDetection/motion", True),
        ("tns1:VideoAnalytics/tnsaxis:MotionDetection", True),
        ("tns1:VideoSource/MotionAlarm", True),
        ("tns1:RuleEngine/MotionRegionDetector/Motion", True),
        ("tns1:RuleEngine/CellMotionDetector/Motion", True),
        ("tnsaxis:CameraApplicationPlatform/FenceGuard/Camera1Profile1", None),
        ("tns1:Device/Trigger/DigitalInput", None),
    ],
)
def test_what_counts_as_motion(topic: str, expected: bool | None) -> None:
    assert motion_state(Event(topic, (), (("active", "1"),), "Changed")) is expected


# --- the cage -----------------------------------------------------------------------------------------------


def in_the_cage(program: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')",
        "socket.socket()",
        "os.fork()",
        "os.system('true')",
        "os.kill(1, 0)",
        "os.unlink('/tmp/x')",
    ],
)
def test_the_cage_ends_a_worker_that_reaches_out(attempt: str) -> None:
    done = in_the_cage(
        f"""
        import os, socket
        from recorderd.workers import sandbox
        assert sandbox.enter(memory_bytes=1 << 30, cpu_s=60)
        os.write(1, b"in")
        {attempt}
        os.write(1, b"out")
        """
    )
    assert done.stdout == b"in"
    assert done.returncode == -31, "SIGSYS"


def test_the_cage_bounds_memory() -> None:
    done = in_the_cage(
        """
        import os
        from recorderd.workers import sandbox
        sandbox.enter(memory_bytes=1 << 28, cpu_s=60)
        try:
            bytearray(1 << 29)
        except MemoryError:
            os.write(1, b"refused")
        os._exit(0)
        """
    )
    assert done.stdout == b"refused"


def test_the_worker_answers_hostile_and_good_documents_alike() -> None:
    documents = [BOMB, document("tns1:VideoSource/MotionAlarm", {}, {"State": "true"}), EXTERNAL]
    stream = b"".join(struct.pack(">cI", b"X", len(d)) + d for d in documents)
    command = [sys.executable, "-m", "recorderd.workers.camera_events"]
    rest = subprocess.run(command, input=stream, capture_output=True, check=True).stdout
    answers = []
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        answers.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    assert b"document type" in answers[0]
    assert b"MotionAlarm" in answers[1]
    assert b"document type" in answers[2]


# --- from documents to events -------------------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- another process answers when it does
            await asyncio.sleep(0.005)


def test_motion_raises_the_recorders_own_event_and_falls_with_the_camera() -> None:
    async def main() -> None:
        broker = Broker(clock=SystemClock(), history=History())
        heard: list[Event] = []
        broker.listen(heard.append)
        reader = Reader(clock=SystemClock())
        cameras = CameraEvents(broker=broker, reader=reader)
        task = asyncio.create_task(reader.run())

        def umd() -> list[tuple[str, str]]:
            return [(dict(e.source)["device"], dict(e.data)["active"]) for e in heard if e.topic == UNIVERSAL_MOTION]

        cameras.submit(ONE, "cam1", motion(False, 1, "Initialized"), 5)
        cameras.submit(ONE, "cam1", motion(True, 1), 6)
        cameras.submit(ONE, "cam1", motion(True, 2), 7)
        cameras.submit(TWO, "cam2", motion(True, 1), 8)
        cameras.submit(ONE, "cam1", motion(False, 1), 9)
        await until(lambda: reader.documents == 5)
        assert umd() == [("cam1", "0"), ("cam1", "1"), ("cam2", "0"), ("cam2", "1")], "profile 2 still moves"
        cameras.submit(ONE, "cam1", motion(False, 2), 10)
        await until(lambda: reader.documents == 6)
        assert umd()[-1] == ("cam1", "0")
        assert heard[-1].boottime_ns == 10, "an event is as old as the document that brought it"
        cameras.submit(TWO, "cam2", motion(True, 2), 11)
        cameras.lost(TWO)
        assert umd()[-1] == ("cam2", "0")
        await until(lambda: reader.documents == 7)
        assert umd()[-1] == ("cam2", "0"), "what was said before the loss does not count after it"
        assert [dict(e.source)["device"] for e in heard if e.operation == "Deleted"] == ["cam2"]
        held = [e for e in broker.properties() if dict(e.source)["device"] == "cam2"]
        assert [e.topic for e in held] == [UNIVERSAL_MOTION]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def ears() -> tuple[CameraEvents, list[tuple[str, str, str]]]:
    """What is told: the last step of the topic, the value, the operation."""
    broker = Broker(clock=FakeClock(), history=History())
    told: list[tuple[str, str, str]] = []
    broker.listen(lambda e: told.append((e.topic.rpartition("/")[2], "".join(v for _, v in e.data), e.operation)))
    return CameraEvents(broker=broker, reader=ReadHere(clock=FakeClock())), told


CROSSED = document("tnsaxis:LineCrossed", {}, {"line": "7"}, "")


def test_two_voices_of_a_device_say_everything_once() -> None:
    cameras, told = ears()
    for document_ in (motion(False, 1, "Initialized"), motion(True, 1), CROSSED):
        cameras.submit(ONE, "cam", document_, 1)
        cameras.submit(TWO, "cam", document_, 2)
    assert told == [
        ("Camera1Profile1", "0", "Initialized"), ("tnsaxis:UniversalMotionDetection", "0", "Initialized"),
        ("Camera1Profile1", "1", "Changed"), ("tnsaxis:UniversalMotionDetection", "1", "Changed"), ("tnsaxis:LineCrossed", "7", ""),
    ]  # fmt: skip
    told.clear()
    cameras.lost(TWO)
    assert told == [], "nobody listened to it"
    cameras.submit(TWO, "cam", motion(True, 1, "Initialized"), 3)
    cameras.submit(TWO, "cam", motion(True, 2, "Initialized"), 3)
    cameras.lost(ONE)
    assert told == [("Camera1Profile2", "1", "Initialized")], "it still moves: the other voice says so"
    cameras.submit(TWO, "cam", motion(False, 1), 4)
    cameras.submit(TWO, "cam", CROSSED, 4)
    cameras.submit(TWO, "cam", motion(False, 2), 4)
    assert told[-2:] == [("Camera1Profile2", "0", "Changed"), ("tnsaxis:UniversalMotionDetection", "0", "Changed")]
    assert ("tnsaxis:LineCrossed", "7", "") in told


def test_what_the_next_voice_does_not_say_ends_with_the_first() -> None:
    cameras, told = ears()
    cameras.submit(ONE, "cam", motion(True, 1, "Initialized"), 1)
    cameras.submit(TWO, "cam", motion(True, 2, "Initialized"), 1)
    told.clear()
    cameras.lost(ONE)
    assert told[0] == ("Camera1Profile1", "", "Deleted")
    assert told[-1] == ("tnsaxis:UniversalMotionDetection", "1", "Changed")
    cameras.lost(TWO)
    assert told[-1] == ("tnsaxis:UniversalMotionDetection", "0", "Changed")
    cameras.forget("cam")
    assert told[-1] == ("tnsaxis:UniversalMotionDetection", "0", "Deleted")


def test_a_receiver_that_goes_over_to_another_device_takes_nothing_along() -> None:
    cameras, told = ears()
    cameras.submit(ONE, "cam", motion(True), 1)
    told.clear()
    cameras.submit(ONE, "other", motion(False, 1, "Initialized"), 2)
    assert told[:2] == [("Camera1Profile1", "", "Deleted"), ("tnsaxis:UniversalMotionDetection", "0", "Changed")]


def test_a_camera_cannot_fill_the_memory_or_speak_for_the_recorder() -> None:
    cameras, told = ears()
    for number in range(MAX_STATED + 100):
        cameras.submit(ONE, "cam", document("tns1:Device/X", {"n": str(number)}, {"State": "true"}), 1)
    assert (len(told), cameras.refused) == (MAX_STATED, 100)
    cameras.submit(ONE, "cam", document("tns1:Device/X", {"n": "0"}, {"State": "false"}), 2)
    assert told[-1] == ("X", "false", "Changed"), "what is known may change"
    told.clear()
    cameras.submit(ONE, "cam", document(UNIVERSAL_MOTION, {"device": "other"}, {"active": "1"}), 3)
    assert told == []


def test_a_worker_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("recorderd.events.reader.RESTART_S", 0.01)

    async def main() -> None:
        dies_once = "import os, sys; f = sys.argv[1]; os.path.exists(f) or (open(f, 'w').close(), os._exit(3)); "
        start = dies_once + "from recorderd.workers.camera_events import main; main()"
        command = (sys.executable, "-c", start, str(tmp_path / "died"))
        broker = Broker(clock=SystemClock(), history=History())
        reader = Reader(clock=SystemClock(), command=command)
        cameras = CameraEvents(broker=broker, reader=reader)
        task = asyncio.create_task(reader.run())
        cameras.submit(ONE, "cam1", motion(True), 1)
        await until(lambda: reader.restarts == 1)
        cameras.submit(ONE, "cam1", motion(True), 2)
        await until(lambda: reader.documents == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_what_waits_is_bounded_and_analytics_go_no_further() -> None:
    reader = Reader(clock=FakeClock())
    cameras = CameraEvents(broker=Broker(clock=FakeClock(), history=History()), reader=reader)
    for _ in range(10_000):
        cameras.submit(ONE, "cam1", b"<tt:Frame>" + b" " * 2000 + b"</tt:Frame>", 1)
    assert reader.dropped == 0
    for _ in range(10_000):
        cameras.submit(ONE, "cam1", b"NotificationMessage" + b" " * 1000, 1)
    assert reader.dropped > 5000
