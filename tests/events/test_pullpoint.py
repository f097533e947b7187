"""A camera's events by an ONVIF pull point: subscribed, asked for, given up in order, and what can go wrong."""

from __future__ import annotations

import asyncio

import pytest

from hw.sim.camera import Credentials
from hw.sim.camera.event_server import EventServer
from hw.sim.camera.metadata import VMD4, StatefulEvent
from recorderd.events.listening.pullpoint import path_of
from recorderd.events.notification import MAX_DOCUMENT_BYTES
from tests.events.hearing import Ears, asks, camera_with, hearing
from tests.simulated_time import FakeClock, run_simulated

LINE = StatefulEvent("tnsaxis:CameraApplicationPlatform/LineCrossed", (), "line", "1", "0")
PASSWORD = "a made-up pass-word"


def test_motion_is_asked_for_and_falls_with_the_camera() -> None:
    async def main(clock: FakeClock) -> None:
        ears, camera = Ears(clock), camera_with(VMD4)
        credentials = Credentials("root", PASSWORD, ("SHA-256", "MD5"))
        async with EventServer(camera, credentials=credentials) as server, hearing(ears):
            ears.listeners.listen(asks(server, "pullpoint", username="root", password=PASSWORD))
            await ears.until(lambda: ears.motion() == ["0"])
            assert ears.listeners.state("cam") == "listening"
            await asyncio.sleep(300)
            assert ears.listeners.attempts == 1, "nothing to tell for five minutes"
            camera.set(VMD4, True)
            await ears.until(lambda: ears.motion() == ["0", "1"])
            camera.happen(LINE)
            await ears.until(lambda: any(e.topic == LINE.topic and not e.operation for e in ears.heard))
            server.pull_points.points.clear()
            server.reset()
            await ears.until(lambda: ears.motion() == ["0", "1", "0", "1"])
            ears.listeners.stop("cam")
            await server.until(lambda: not server.pull_points.points)
            await ears.until(lambda: ears.motion()[-1] == "0")

    run_simulated(main)


@pytest.mark.parametrize(
    ("fault", "value", "said"),
    [
        ("fault", "no more pull points", "no more pull points"),
        ("garbage", b"<html>", "cannot be read"),
        ("garbage", b"<a/>", "makes no pull point"),
        ("garbage", b" " * (MAX_DOCUMENT_BYTES + 1), "more than"),
    ],
)
def test_what_is_no_pull_point(fault: str, value: object, said: str) -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with EventServer(camera_with()) as server, hearing(ears):
            setattr(server.pull_points, fault, value)
            ears.listeners.listen(asks(server, "pullpoint"))
            await ears.until_state(said)
            server.pull_points.fault = ""
            await ears.until_state("listening")

    run_simulated(main)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"username": "root", "password": "wrong"}, "refuses the user name or password"),
        ({}, "none is set"),
    ],
)
def test_credentials(given: dict[str, object], said: str) -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with EventServer(camera_with(), credentials=Credentials("root", PASSWORD)) as server, hearing(ears):
            ears.listeners.listen(asks(server, "pullpoint", **given))
            await ears.until_state(said)

    run_simulated(main)


def test_a_camera_without_the_service_and_one_that_drips() -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with EventServer(camera_with()) as server, hearing(ears):
            server.faults.not_found = True
            ears.listeners.listen(asks(server, "pullpoint"))
            await ears.until_state("no ONVIF event service")
            server.faults.not_found = False
            server.faults.drip_bytes_per_s = 1
            await ears.until_state("does not answer")

    run_simulated(main)


def test_of_a_subscriptions_address_only_the_path_is_believed() -> None:
    assert path_of("http://evil.example:81/onvif/sub?Idx=3") == "/onvif/sub?Idx=3"
    for bad in ("", "urn:uuid:1", "http://x", "http://x/a b", "http://x/\r\nHost: y", "http://[/a", "http://x/\u00e9"):
        assert path_of(bad) == "", bad
