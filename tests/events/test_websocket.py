"""An Axis camera's event stream over WebSocket: what it says, what can go wrong with it, and that no password leaves the right place."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.sim.camera import Credentials
from hw.sim.camera.event_server import BINARY, TEXT, EventServer, frame, notification
from hw.sim.camera.metadata import VMD4, StatefulEvent
from recorderd.events.camera_json import parse_message
from recorderd.events.listening.pace import BURST
from recorderd.events.notification import MAX_DOCUMENT_BYTES, BadDocument
from recorderd.events.reader import Reader
from recorderd.model.clock import SystemClock
from recorderd.model.device import CertificateCheck, CertificateValidation
from recorderd.model.device_tls import context_for
from recorderd.model.supervision import Backoff
from tests.events.hearing import Ears, asks, camera_with, hearing
from tests.peers.certificate import make_authority, make_certificate, needs_openssl
from tests.simulated_time import FakeClock, run_simulated

LINE = StatefulEvent("tnsaxis:CameraApplicationPlatform/LineCrossed", (), "line", "7", "0")
PASSWORD = "a made-up pass-word"
OFF, STANDARD, LIMITED = CertificateValidation
QUICK = Backoff(first_s=0.01, most_s=0.02)


# --- the texts ----------------------------------------------------------------------------------------------


def notify(topic: str = "tns1:A", **message: object) -> bytes:
    parameters = {"notification": {"timestamp": 1, "topic": topic, "message": message}}
    return json.dumps({"apiVersion": "1.0", "method": "events:notify", "params": parameters}).encode()


def test_a_notification_has_its_items_and_a_state_is_known_by_its_name() -> None:
    (found,) = parse_message(
        notify("tns1:RuleEngine/tnsaxis:VMD3/vmd3_video_1", source={"areaid": "0"}, key={"k": 1}, data={"active": "1"})
    ).notifications
    assert (found.source, found.data) == ((("areaid", "0"), ("k", "1")), (("active", "1"),))
    assert found.operation == "Changed"
    assert parse_message(notify(data={"line": "7"})).notifications[0].operation == "", "an instant"
    assert parse_message(notify("tns1:Device/X", data={"LogicalState": True})).notifications[0].operation == "Changed"
    assert parse_message(notify("tns1:VideoSource/MotionAlarm", data={"x": "1"})).notifications[0].operation


def test_answers_and_refusals() -> None:
    assert parse_message(b'{"apiVersion":"1.0","method":"events:configure","data":{}}').granted
    refused = parse_message(b'{"method":"events:configure","error":{"code":2105,"message":"not authorised"}}')
    assert (refused.refusal, refused.granted) == ("not authorised (2105)", False)
    assert parse_message(b'{"method":"something:else","params":{"a":[1,{}]}}').notifications == []


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"method":' + b"[" * 5000 + b"]" * 5000 + b"}",
        notify("x" * 300),
        notify(""),
        notify(data={f"n{i}": 1 for i in range(100)}),
        notify(data={"v": "x" * 2000}),
        notify(data={"": "x"}),
        notify(data={"v": {"nested": 1}}),
        b'{"x":"' + b"x" * MAX_DOCUMENT_BYTES + b'"}',
    ],
)
def test_hostile_texts_are_refused(hostile: bytes) -> None:
    with pytest.raises(BadDocument):
        parse_message(hostile)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 40))
def test_a_damaged_text_is_read_or_refused(noise: bytes, at: int, cut: int) -> None:
    whole = notification(VMD4, True, 5_000_000)
    try:
        parse_message(whole[:at] + noise + whole[at + cut :])
    except BadDocument as refusal:
        assert str(refusal)


# --- the stream ---------------------------------------------------------------------------------------------


def test_motion_is_heard_and_falls_with_the_camera(caplog: pytest.LogCaptureFixture) -> None:
    """With the real worker, in real time."""

    async def main() -> None:
        camera = camera_with(VMD4, StatefulEvent())
        ears = Ears(SystemClock(), reader=Reader(clock=SystemClock()), backoff=QUICK)
        credentials = Credentials("root", PASSWORD, ("SHA-256", "MD5"))
        async with asyncio.timeout(60), EventServer(camera, credentials=credentials) as server, hearing(ears):
            ears.listeners.listen(asks(server, username="root", password=PASSWORD))
            await ears.until(lambda: ears.motion() == ["0"])
            assert ears.listeners.state("cam") == "listening"
            assert (server.accepted, server.refused) == (2, 1), "once without credentials, once with them"
            camera.set(VMD4, True)
            await ears.until(lambda: ears.motion()[-1] == "1")
            camera.set(StatefulEvent(), True)
            camera.set(VMD4, False)
            camera.happen(LINE)
            await ears.until(lambda: any(e.topic == LINE.topic for e in ears.heard))
            assert ears.motion() == ["0", "1"], "something else still moves"
            server.reset()
            await ears.until(lambda: ears.motion() == ["0", "1", "0", "1"])
            assert server.listening == 1, "it fell with the connection, and came back with the next one"
            ears.listeners.stop("cam")
            await ears.until(lambda: ears.motion()[-1] == "0")
            await server.until(lambda: server.listening == 0)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    assert PASSWORD not in caplog.text
    assert "Authorization" not in caplog.text
    assert "its events are heard" in caplog.text


@pytest.mark.parametrize(
    ("schemes", "given", "said"),
    [
        (("MD5",), {"username": "root", "password": "wrong"}, "refuses the user name or password"),
        (("MD5",), {}, "none is set"),
        (("Basic",), {"username": "root", "password": PASSWORD}, "only Basic"),
        (("Basic",), {"username": "root", "password": PASSWORD, "allow_basic": True}, "listening"),
    ],
)
def test_credentials(schemes: tuple[str, ...], given: dict[str, object], said: str) -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with (
            EventServer(camera_with(), credentials=Credentials("root", PASSWORD, schemes)) as server,
            hearing(ears),
        ):
            ears.listeners.listen(asks(server, **given))
            await ears.until_state(said)

    run_simulated(main)


def test_a_nonce_that_is_stale_and_credentials_that_change() -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        camera = camera_with()
        async with EventServer(camera, credentials=Credentials("root", "one")) as server, hearing(ears):
            assert server.authenticator is not None
            ears.listeners.listen(asks(server, username="root", password="one"))
            await ears.until_state("listening")
            server.authenticator.retire_nonce()
            server.reset()
            await server.until(lambda: server.agreed == 2)
            server.set_credentials(Credentials("root", "two"))
            camera.set(VMD4, True)
            await ears.until(lambda: ears.motion()[-1] == "1")
            assert server.listening == 1, "what runs goes on"
            server.reset()
            await ears.until_state("refuses the user name or password")
            assert ears.motion()[-1] == "0"
            ears.listeners.listen(asks(server, username="root", password="two"))
            await ears.until_state("listening")
            await ears.until(lambda: ears.motion()[-1] == "1")

    run_simulated(main)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(TEXT, b"nonsense"), "cannot be read"),
        (frame(TEXT, b"\xff\xfe"), "cannot be read"),
        (frame(BINARY, b"{}"), "not text"),
        (frame(TEXT, b" " * (MAX_DOCUMENT_BYTES + 1)), "breaks its protocol"),
        (frame(TEXT, b" " * 200_000, fin=False) + frame(0, b" " * 200_000), "breaks its protocol"),
        (b"HTTP/1.1 500 what\r\n\r\n" * 9, "breaks its protocol"),
        (bytes(range(256)) * 40, "breaks its protocol"),
        (frame(8, b"\x03\xe9going"), "closed its event stream"),
        (frame(TEXT, notify("tns1:A", data={"v": "x" * 5000})), "cannot be read"),
    ],
)
def test_what_is_no_event_stream_ends_it_and_another_one_begins(data: bytes, said: str) -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        camera = camera_with()
        async with EventServer(camera) as server, hearing(ears):
            ears.listeners.listen(asks(server))
            await server.until(lambda: server.listening == 1)
            camera.set(VMD4, True)
            await ears.until(lambda: ears.motion()[-1:] == ["1"])
            await server.send_bytes(data)
            await ears.until(lambda: ears.motion()[-1] == "0")
            await ears.until_state(said)
            await ears.until(lambda: ears.motion()[-1] == "1")
            assert server.agreed == 2

    run_simulated(main)


@pytest.mark.parametrize(
    ("fault", "value", "said"),
    [
        ("not_found", True, "no event stream over WebSocket"),
        ("status", 503, "refused: 503"),
        ("wrong_accept", True, "not answered in its protocol"),
        ("refuse_code", 2105, "refused (2105)"),
        ("no_answer", True, "does not answer the request"),
        ("drip_bytes_per_s", 1, "not answered"),
        ("close_with_handshake", True, "closed its event stream"),
        ("close_at_once", True, "closed its event stream"),
    ],
)
def test_a_camera_that_misbehaves_is_tried_again_ever_more_seldom(fault: str, value: object, said: str) -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with EventServer(camera_with()) as server, hearing(ears):
            setattr(server.faults, fault, value)
            ears.listeners.listen(asks(server))
            await ears.until_state(said)
            await asyncio.sleep(600)
            assert 8 <= ears.listeners.attempts <= 25, "ten minutes: seconds apart at first, then a minute"
            setattr(server.faults, fault, type(value)())
            await ears.until_state("listening")

    run_simulated(main)


def test_a_camera_that_drips_or_falls_silent_is_lost() -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with EventServer(camera_with()) as server, hearing(ears):
            ears.listeners.listen(asks(server))
            await ears.until_state("listening")
            await asyncio.sleep(600)
            assert ears.listeners.attempts == 1, "nothing happens for ten minutes, and pings are answered"
            server.faults.deaf_to_pings = True
            began_ns = clock.boottime_ns()
            await ears.until_state("nothing from the camera's event stream for 45 s")
            assert clock.boottime_ns() - began_ns < 62e9
            server.faults.deaf_to_pings = False
            await server.until(lambda: server.agreed == 2)
            await asyncio.sleep(1)
            slowly = asyncio.create_task(drip(server, frame(TEXT, b" " * 1000)))
            await ears.until_state("nothing from the camera's event stream for 45 s")
            slowly.cancel()
            await server.until(lambda: server.agreed == 3)
            await asyncio.sleep(1)
            in_pieces = [frame(TEXT, b" ", fin=False)] + [frame(0, b" ", fin=False)] * 100
            slowly = asyncio.create_task(drip(server, *in_pieces, every_s=5))
            await ears.until_state("one message")
            slowly.cancel()

    async def drip(server: EventServer, *data: bytes, every_s: float = 1.0) -> None:
        for part in data if len(data) > 1 else [data[0][at : at + 1] for at in range(len(data[0]))]:
            await server.send_bytes(part)
            await asyncio.sleep(every_s)

    run_simulated(main)


def test_a_camera_that_floods_waits_in_its_socket_and_holds_nobody_up() -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        loud, quiet = camera_with(VMD4), camera_with(VMD4)
        async with EventServer(loud) as one, EventServer(quiet) as two, hearing(ears):
            ears.listeners.listen(asks(one, device="loud"))
            ears.listeners.listen(asks(two, device="quiet"))
            await ears.until_state("listening", "loud")
            await ears.until_state("listening", "quiet")
            for number in range(2 * BURST):
                loud.set(VMD4, number % 2 == 0)
            began_ns = clock.boottime_ns()
            await asyncio.sleep(2)
            assert BURST <= len(ears.motion("loud")) <= BURST + 110, "the burst, then 50 a second"
            quiet.set(VMD4, True)
            await ears.until(lambda: ears.motion("quiet") == ["0", "1"])
            assert clock.boottime_ns() - began_ns < 2.1e9
            await ears.until(lambda: len(ears.motion("loud")) == 2 * BURST + 1)
            assert ears.listeners.attempts == 2, "nothing is lost, and nobody is cut off"

    run_simulated(main)


@needs_openssl
@pytest.mark.host
@pytest.mark.parametrize(
    ("certificates", "name", "trusted", "said"),
    [
        (OFF, "camera.example", False, "only Basic"),
        (LIMITED, "camera.example", False, "certificate is not accepted"),
        (LIMITED, "camera.example", True, "only Basic"),
        (STANDARD, "camera.example", True, "certificate is not accepted"),
        (STANDARD, "127.0.0.1", True, "listening"),
    ],
)
def test_the_certificate_is_checked_as_the_device_says_and_basic_needs_all_of_it(
    certificates: CertificateValidation,
    name: str,
    trusted: bool,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pem = make_certificate(tmp_path, name=name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)

    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        credentials = Credentials("root", PASSWORD, ("Basic",))
        async with EventServer(camera_with(), tls=server_side, credentials=credentials) as server, hearing(ears):
            given = {
                "encrypted": True,
                "certificates": CertificateCheck(certificates),
                "username": "root",
                "password": PASSWORD,
            }
            ears.listeners.listen(asks(server, **given))
            await ears.until_state(said)

    context_for.cache_clear()
    try:
        run_simulated(main)
    finally:
        context_for.cache_clear()


@needs_openssl
@pytest.mark.host
@pytest.mark.parametrize("transport", ["websocket", "pullpoint"])
def test_a_devices_own_authority_vouches_for_its_events_too(transport: str, tmp_path: Path) -> None:
    ours, other = make_authority(tmp_path, "ours"), make_authority(tmp_path, "other")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(ours.issue())

    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        credentials = Credentials("root", PASSWORD, ("Basic",))
        async with EventServer(camera_with(), tls=server_side, credentials=credentials) as server, hearing(ears):
            given = {"encrypted": True, "username": "root", "password": PASSWORD}
            for authorities, said in (
                ((), "unable to get local issuer certificate"),
                ((other.text,), "unable to get local issuer certificate"),
                (("no certificate",), "CA certificates cannot be used"),
                ((other.text, ours.text), "listening"),
            ):
                check = CertificateCheck(STANDARD, authorities)
                ears.listeners.listen(asks(server, transport, certificates=check, **given))
                await ears.until_state(said)

    run_simulated(main)


def test_a_camera_that_is_not_there() -> None:
    async def main(clock: FakeClock) -> None:
        ears = Ears(clock)
        async with EventServer(camera_with()) as server:
            request = asks(server)
        async with hearing(ears):
            ears.listeners.listen(request)
            await ears.until_state("refuses the connection")
            assert ears.heard == []

    run_simulated(main)
