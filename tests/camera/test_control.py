"""Commands to cameras over the Unix socket."""

import asyncio
import json

import pytest

from hw.sim.camera import Camera, Credentials, StatefulEvent, VideoSettings, WithEvents, video_clip
from hw.sim.camera.clip import ClipSource
from hw.sim.camera.control import obey, serve
from hw.sim.camera.faults import Faults


def a_camera(name="front", **options) -> Camera:
    clip = video_clip(VideoSettings("h264", 160, 120), 30)
    return Camera(WithEvents(ClipSource(clip, alternates={0: clip})), name=name, **options)


def say(target: Camera, **command) -> dict:
    line = json.dumps({"camera": target.name} | command).encode()
    return asyncio.run(obey({target.name: target}, line))


def test_over_the_socket(tmp_path):
    async def main() -> None:
        async with a_camera() as camera:
            server = await serve({"front": camera}, tmp_path / "control")
            reader, writer = await asyncio.open_unix_connection(tmp_path / "control")
            for line in [
                b'{"camera": "front", "do": "faults", "stall": true, "loss": 1}\n',
                b'{"do": "list"}\n',
                b"?\n",
            ]:
                writer.write(line)
            assert json.loads(await reader.readline()) == {"ok": True}
            (told,) = json.loads(await reader.readline())["cameras"]
            assert (told["name"], told["url"], told["playing"]) == ("front", camera.url, 0)
            assert told["faults"]["stall"] is True
            assert told["faults"]["loss"] == 1.0
            assert json.loads(await reader.readline())["ok"] is False
            writer.close()
            await writer.wait_closed()
            server.close()

    asyncio.run(main())


def test_commands_reach_the_camera():
    camera = a_camera(credentials=Credentials("a", "b"))
    assert say(camera, do="faults", drift_ppm={"audio": 500.0}, reports="none") == {"ok": True}
    assert camera.faults == Faults(drift_ppm={"audio": 500.0}, reports="none")
    assert say(camera, do="clear") == {"ok": True}
    assert camera.faults == Faults()
    before = camera.clock.now_ns()
    assert say(camera, do="clock", step_s=100)["ok"]
    assert 99e9 < camera.clock.now_ns() - before < 200e9
    assert say(camera, do="authentication", user="c", password="d", schemes=["SHA-256"])["ok"]
    assert camera.authenticator.credentials == Credentials("c", "d", ("SHA-256",))
    assert say(camera, do="authentication")["ok"]
    assert camera.authenticator is None
    assert say(camera, do="event", active=True)["ok"]
    assert camera.source.states == {StatefulEvent(): True}
    assert say(camera, do="parameter-sets")["ok"]
    assert camera.source.inner.changes == 1
    for verb in ("reset", "close", "refuse"):
        assert say(camera, do=verb)["ok"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"do": "faults", "stal": True}, "no fault 'stal'"),
        ({"do": "faults", "stall": 1}, "stall takes bool"),
        ({"do": "faults", "cut": True}, "cut takes int"),
        ({"do": "dance"}, "unknown command 'dance'"),
        ({"do": "rtp-step"}, "'seconds' is missing"),
        ({"do": "event", "active": True, "topic": "x"}, "no event 'x'"),
        ({"do": "clear", "camera": "back"}, "no such camera; there are front"),
        ({"do": "stale"}, "asks for no password"),
    ],
)
def test_mistakes_are_explained_and_change_nothing(command, words):
    camera = a_camera()
    reply = say(camera, **command)
    assert reply["ok"] is False
    assert words in reply["error"]
    assert camera.faults == Faults()


@pytest.mark.parametrize("line", [b"[1]", b"\xff", b"[" * 60_000, b"{}", b'{"camera": []}'])
def test_garbage_is_refused(line):
    assert asyncio.run(obey({"front": a_camera()}, line))["ok"] is False
