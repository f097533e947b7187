"""Which stream brings a device's events: a receiver's, metadata alone, or an event stream of its own (recorder page, "Motion events")."""

from __future__ import annotations

from pathlib import Path

from recorderd.model.device import (
    CertificateCheck,
    CertificateValidation,
    Device,
    DeviceProtocol,
    DeviceSettings,
    EventTransport,
)
from recorderd.model.group import GroupSettings
from recorderd.model.job import JobRequest, SourceRequest
from recorderd.model.ports import StreamRequest
from recorderd.model.receiver import ReceiverConfiguration, ReceiverMode
from recorderd.model.recording import RecordingConfiguration
from tests.recording.fakes import METADATA, VIDEO
from tests.recording.service_house import ServiceHouse, living
from tests.simulated_time import FakeClock, run_simulated

AXIS = "/axis-media/media.amp"
ALONE = (("video", "0"), ("audio", "0"), ("event", "on"))


def only(house: ServiceHouse) -> StreamRequest:
    (request,) = house.source.requests.values()
    return request


async def new_device(house: ServiceHouse, **settings: object) -> Device:
    given = {"address": "192.0.2.1", "username": "u", "password": "p", "events_enabled": True, **settings}
    return await house.service.create_device("cam", DeviceSettings(**given))  # type: ignore[arg-type]


def test_a_device_without_a_receiver_is_heard_by_metadata_alone(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            device = await new_device(house)
            request = only(house)
            assert (request.receiver, request.uri, request.options) == (device.uid, f"rtsp://192.0.2.1{AXIS}", ALONE)
            assert (request.want_video, request.want_audio, request.want_metadata) == (False, False, True)
            assert (request.username, request.password) == ("u", "p")
            assert house.service.events_state("cam") == "connecting"
            house.source.connect(device.uid, (METADATA,))
            assert house.service.events_state("cam") == "listening"
            house.source.frame(device.uid, b"<document/>")
            assert house.cameras.documents == [("cam", b"<document/>")]
            house.source.disconnect(device.uid)
            assert house.cameras.lost_voices == [device.uid]
            assert house.service.events_state("cam") == "CAMERA_CLOSED"
            house.source.connect(device.uid, (VIDEO,))
            assert "no metadata" in house.service.events_state("cam")
            await house.service.update_device("cam", DeviceSettings(password="q"))
            assert only(house).password == "q"
            await house.service.update_device("cam", DeviceSettings(events_enabled=False))
            assert house.source.requests == {}
            assert house.cameras.lost_voices[-1] == device.uid
            assert house.service.events_state("cam") == ""

    run_simulated(main)


def test_a_receiver_brings_the_events_along_and_its_neighbour_takes_over(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            device = await new_device(house)
            first = await service.create_receiver(ReceiverConfiguration(media_uri=f"rtsp://192.0.2.1{AXIS}?camera=1"))
            assert only(house).receiver == first.id, "one connection is enough"
            assert only(house).options == ALONE
            second = await service.create_receiver(ReceiverConfiguration(media_uri="rtsp://192.0.2.1/other"))
            assert only(house).receiver == first.id
            recording = await service.create_recording(RecordingConfiguration())
            sources = (SourceRequest(token=first.token),)
            job = await service.create_job(JobRequest(recording=recording.token, sources=sources, mode="Active"))
            assert only(house).options == (("event", "on"),), "its media carry the events"
            assert only(house).want_video
            await service.delete_job(job.token)
            await service.delete_receiver(first.token)
            assert only(house).receiver == second.id
            assert only(house).options == (), "no Axis camera: whoever sends metadata sends it unasked"
            await service.delete_receiver(second.token)
            assert only(house).receiver == device.uid
            assert house.cameras.lost_voices == [device.uid, first.id, second.id], "each was silent when it was left"

    run_simulated(main)


def test_the_stream_of_a_recording_group_carries_the_events(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            await new_device(house)
            options = GroupSettings(stream_options="device=cam&resolution=640x480&audio=1")
            await house.service.groups.create_group("g", options)
            assert only(house).options[:2] == (("video", "0"), ("audio", "0")), "nothing records yet"
            await house.service.groups.set_group_active("g", True)
            assert only(house).options[:2] == (("video", "1"), ("audio", "1"))
            assert only(house).options[-1] == ("event", "on")

    run_simulated(main)


def test_a_device_with_an_event_stream_of_its_own_is_not_heard_twice(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            device = await new_device(house, event_transport=EventTransport.WEBSOCKET)
            assert house.source.requests == {}
            request = house.streams.requests["cam"]
            assert (request.transport, request.host, request.port, request.encrypted) == (
                "websocket",
                "192.0.2.1",
                80,
                False,
            )
            assert (request.username, request.password, request.voice) == ("u", "p", device.uid)
            assert "'p'" not in repr(request)
            receiver = await service.create_receiver(
                ReceiverConfiguration(media_uri="rtsp://192.0.2.1/s", mode=ReceiverMode.ALWAYS_CONNECT)
            )
            house.source.connect(receiver.id)
            house.source.frame(receiver.id, b"<document/>")
            assert house.cameras.documents == [], "the metadata is recorded and not listened to"
            https = DeviceSettings(
                protocol=DeviceProtocol.RTSPSH, certificate_validation=CertificateValidation.LIMITED, allow_basic=True
            )
            await service.update_device("cam", https)
            request = house.streams.requests["cam"]
            assert (request.port, request.encrypted, request.certificates, request.allow_basic) == (
                443,
                True,
                CertificateCheck(CertificateValidation.LIMITED),
                True,
            )
            await service.update_device("cam", DeviceSettings(event_port=8443))
            assert house.streams.requests["cam"].port == 8443
            await service.update_device("cam", DeviceSettings(event_transport=EventTransport.METADATA))
            assert house.streams.requests == {}
            house.source.frame(receiver.id, b"<document/>")
            assert house.cameras.documents == [("cam", b"<document/>")]
            await service.update_device("cam", DeviceSettings(event_transport=EventTransport.WEBSOCKET))
            await service.delete_device("cam")
            assert house.streams.requests == {}
            assert house.cameras.forgotten == ["cam"]

    run_simulated(main)


def test_a_device_is_heard_again_after_a_restart(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            await new_device(house, event_transport=EventTransport.WEBSOCKET)
            await house.service.create_device("other", DeviceSettings(address="192.0.2.2", events_enabled=True))
            await house.service.create_device("deaf", DeviceSettings(address="192.0.2.3"))
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            assert list(house.streams.requests) == ["cam"]
            assert only(house).uri == f"rtsp://192.0.2.2{AXIS}"

    run_simulated(main)
