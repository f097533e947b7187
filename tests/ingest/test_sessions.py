"""One camera's sessions in simulated time: silence and what is done about it, reconnecting, causes, changed requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorderd.ingest.stream import StreamState
from recorderd.model.causes import GapCause
from recorderd.model.ports import StreamRequest
from tests.ingest.world import RECEIVER, SECOND, World, simulate


def test_a_stream_runs_and_stops_with_a_teardown():
    async def scenario(world):
        await world.clock.sleep(10)
        assert world.status().state is StreamState.STREAMING
        assert world.health().streaming
        (wire,) = world.camera.wires
        await world.ingest.close()
        assert wire.server.seen[-1][0] == "TEARDOWN"
        assert not world.camera.wires

    world = simulate(scenario, audio=True, metadata=True)
    assert len(world.sink.tracks[0]) >= 8 * 25
    assert world.sink.said("closed")[0][1] is GapCause.CONFIGURATION
    assert not world.sink.said("interrupted")
    assert world.sink.tracks[2][0].data == b"<tt:MetadataStream/>"


def test_abrupt_silence_is_noticed_within_ten_seconds_of_the_last_byte():
    async def scenario(world):
        await world.clock.sleep(20)
        world.camera.faults.mute = True
        world.camera.faults.unreachable = GapCause.CAMERA_UNREACHABLE
        muted_ns = world.clock.boottime_ns()
        await world.clock.sleep(3)
        assert world.status().state is StreamState.QUIET
        assert world.health().silence is GapCause.CAMERA_SILENT
        while not world.sink.said("closed"):
            await world.clock.sleep(0.1)
        assert (world.clock.boottime_ns() - muted_ns) / SECOND <= 10.7
        assert world.camera.probes == 2

    world = simulate(scenario)
    ((_, cause, detail),) = world.sink.said("closed")
    assert cause is GapCause.CAMERA_UNREACHABLE
    assert detail == "nothing from the camera for 10 s, and it cannot be reached"


def test_silence_of_a_camera_that_still_answers_tcp_is_silence():
    async def scenario(world):
        await world.clock.sleep(20)
        world.camera.faults.mute = True
        await world.clock.sleep(12)

    world = simulate(scenario)
    assert world.sink.said("closed")[0][1] is GapCause.CAMERA_SILENT


def test_answers_without_media_are_no_media():
    async def scenario(world):
        await world.clock.sleep(20)
        world.camera.faults.stall = True
        (wire,) = world.camera.wires
        await world.clock.sleep(9)
        assert world.status().cause is GapCause.NO_MEDIA
        assert [m for m, _, _ in wire.server.seen].count("PLAY") == 1
        await world.clock.sleep(3)
        assert [m for m, _, _ in wire.server.seen].count("PLAY") == 2
        await world.clock.sleep(11)
        assert wire.server.seen[-1][0] == "TEARDOWN"
        assert world.camera.sessions == 2
        await world.clock.sleep(43)
        assert world.health().fresh_sessions_without_media == 2
        assert not world.health().streaming
        assert world.health().silence is GapCause.NO_MEDIA
        world.camera.faults.stall = False
        await world.clock.sleep(50)
        assert world.health().fresh_sessions_without_media == 0
        assert world.status().state is StreamState.STREAMING

    world = simulate(scenario)
    assert world.camera.most_wires == 1
    assert {entry[1] for entry in world.sink.said("closed")} == {GapCause.NO_MEDIA}


def test_a_pause_that_ends_by_itself_is_an_interval_with_a_cause():
    async def scenario(world):
        await world.clock.sleep(20)
        world.camera.faults.stall = True
        await world.clock.sleep(6)
        world.camera.faults.stall = False
        await world.clock.sleep(5)
        world.camera.faults.mute = True
        await world.clock.sleep(5)
        world.camera.faults.mute = False
        await world.clock.sleep(5)

    world = simulate(scenario)
    assert not world.sink.said("closed")
    first, second = [e for e in world.sink.said("interrupted") if e[2] is not GapCause.PACKET_LOSS]
    assert (first[1], first[2]) == ((0,), GapCause.NO_MEDIA)
    assert 5.9 < (first[4] - first[3]) / SECOND < 6.2
    assert second[2] is GapCause.CAMERA_SILENT


def test_metadata_does_not_count_as_media():
    async def scenario(world):
        await world.clock.sleep(10)
        (wire,) = world.camera.wires
        wire.track.frames = lambda *a, **k: []
        await world.clock.sleep(35)
        assert world.camera.sessions >= 2

    world = simulate(scenario, metadata=True)
    assert world.sink.said("closed")[0][1] is GapCause.NO_MEDIA


def test_a_slow_stream_is_not_silent():
    async def scenario(world):
        await world.clock.sleep(600)
        assert world.status().state is StreamState.STREAMING

    world = simulate(scenario, fps=0.2)
    assert world.camera.sessions == 1
    assert len(world.sink.tracks[0]) > 90


@pytest.mark.parametrize(
    ("error", "cause"), [(None, GapCause.CAMERA_CLOSED), (ConnectionResetError(104, "reset"), GapCause.CAMERA_RESET)]
)
def test_orderly_and_abrupt_ends_are_told_apart(error, cause):
    async def scenario(world):
        await world.clock.sleep(40)
        world.camera.end_all(error)
        await world.clock.sleep(5)
        assert world.status().state is StreamState.STREAMING

    world = simulate(scenario)
    assert [entry[1] for entry in world.sink.said("closed")] == [cause]
    assert world.camera.sessions == 2
    assert [session.serial for session in world.sink.sessions] == [1, 2]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"refuse": GapCause.CAMERA_REFUSED}, GapCause.CAMERA_REFUSED),
        ({"refuse": GapCause.CAMERA_UNREACHABLE}, GapCause.CAMERA_UNREACHABLE),
        ({"status": 404}, GapCause.NOT_FOUND),
        ({"status": 401}, GapCause.UNAUTHORIZED),
        ({"status": 500}, GapCause.CAMERA_ERROR),
        ({"mute": True}, GapCause.CAMERA_SILENT),
    ],
)
def test_attempts_that_fail_say_why_and_back_off(fault, cause):
    async def scenario(world):
        for name, value in fault.items():
            setattr(world.camera.faults, name, value)
        await world.clock.sleep(1200)

    world = simulate(scenario)
    failed = world.sink.said("no session")
    assert {entry[1] for entry in failed} == {cause}
    pauses = [entry[3] for entry in failed]
    longest = 300 if cause is GapCause.UNAUTHORIZED else 30
    assert max(pauses) <= longest
    assert min(pauses[-3:]) >= longest * 0.7
    assert len({round(p, 3) for p in pauses[-5:]}) > 1  # jittered
    if cause is GapCause.UNAUTHORIZED:
        assert min(pauses) > 20
    assert world.camera.most_wires <= 1


def test_the_cause_of_a_loss_stands_while_a_new_attempt_is_made():
    async def scenario(world):
        assert world.status().cause is GapCause.CONNECTING  # there was no attempt before
        await world.clock.sleep(20)
        world.camera.faults.mute = True
        world.camera.end_all(ConnectionResetError(104, "reset"))
        seen = []
        for _ in range(100):
            await world.clock.sleep(0.5)
            status = world.status()
            seen.append((status.state, status.cause, status.since_ns))
        assert (StreamState.CONNECTING, GapCause.CAMERA_RESET) in {entry[:2] for entry in seen}
        assert {entry[1] for entry in seen} == {GapCause.CAMERA_RESET, GapCause.CAMERA_SILENT}
        assert len({entry[1:] for entry in seen}) == 2  # each since its first time
        world.camera.faults.mute = False
        await world.clock.sleep(60)
        assert (world.status().state, world.status().cause) == (StreamState.STREAMING, None)

    simulate(scenario)


def test_bad_urls_are_a_matter_of_configuration():
    async def scenario(world):
        world.ingest.start(StreamRequest(receiver=RECEIVER, name="x", uri="rtsp://"), world.sink)
        await world.clock.sleep(1)

    world = simulate(scenario)
    assert world.sink.said("no session")[-1][1] is GapCause.CONFIGURATION


def test_the_rescue_names_itself_as_the_cause():
    async def scenario(world):
        await world.clock.sleep(10)
        world.ingest.rescue_began(RECEIVER, "port 3 is switched off and on")
        world.camera.faults.refuse = GapCause.CAMERA_UNREACHABLE
        await world.clock.sleep(30)
        assert world.health().silence is GapCause.PORT_CYCLED
        world.camera.faults.refuse = None
        await world.clock.sleep(60)
        assert world.health().streaming

    world = simulate(scenario)
    assert world.sink.said("closed")[0][1] is GapCause.PORT_CYCLED
    assert {entry[1] for entry in world.sink.said("no session")} == {GapCause.PORT_CYCLED}


def test_a_link_that_stays_away_is_the_cause_and_one_that_flaps_costs_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.clock.sleep(5)
        world.ingest.link_lost("192.0.2.1", "port 3 has no carrier")
        await world.clock.sleep(1)
        world.ingest.link_back("192.0.2.1")
        await world.clock.sleep(5)
        assert world.status().state is StreamState.STREAMING
        assert world.status().sessions == 1
        world.ingest.link_lost("192.0.2.1", "port 3 has no carrier")
        world.ingest.link_lost("192.0.2.99", "another camera's port")
        await world.clock.sleep(2.5)
        assert [GapCause.LINK_DOWN in entry for entry in world.sink.said("closed")] == [True]
        world.ingest.link_back("192.0.2.1")
        await world.clock.sleep(30)
        assert world.status().state is StreamState.STREAMING

    simulate(scenario)


def test_a_changed_request_never_makes_two_sessions():
    async def scenario(world):
        await world.clock.sleep(5)
        changed = StreamRequest(receiver=RECEIVER, name="cam1", uri="rtsp://192.0.2.1/y")
        world.ingest.start(changed, world.sink)
        world.ingest.start(changed, world.sink)
        await world.clock.sleep(10)
        assert world.status().state is StreamState.STREAMING

    world = simulate(scenario)
    assert world.camera.most_wires == 1
    assert [session.serial for session in world.sink.sessions] == [1, 2]


def test_another_pre_buffer_is_no_reason_to_leave_the_camera():
    """A job that begins to listen must not tear a hole into what is being recorded."""

    async def scenario(world):
        def ask(seconds):
            world.ingest.start(replace(world.request, prebuffer_s=seconds), world.sink)
            return world.ingest.prebuffer(RECEIVER)

        await world.clock.sleep(5)
        assert ask(0.0) is None
        view = ask(8.0)
        assert list(view.since(0)) == []
        await world.clock.sleep(12)
        first, *rest = view.since(0)
        assert first.key
        assert first.arrival_ns <= world.clock.boottime_ns() - 8 * SECOND
        assert len(rest) >= 8 * 25
        assert ask(4.0) is view
        assert 4 <= view.held_s() < 6
        assert ask(20.0) is view
        await world.clock.sleep(25)
        assert 20 <= view.held_s() < 22
        (wire,) = world.camera.wires
        await world.clock.sleep(1)
        wire.end()
        await world.clock.sleep(5)
        (held,) = view.earlier(0)
        assert held.session.serial == 1
        assert held.ended is GapCause.CAMERA_CLOSED
        assert ask(0.0) is None

    world = simulate(scenario)
    assert world.camera.sessions == 2
    assert len(world.sink.said("closed")) == 1


def test_a_key_frame_can_be_asked_for():
    async def scenario(world):
        await world.clock.sleep(5)
        world.ingest.ask_for_key_frame(RECEIVER)
        (wire,) = world.camera.wires
        method, _, headers = wire.server.seen[-1]
        assert (method, headers["content-length"]) == ("SET_PARAMETER", "19")

    simulate(scenario)
