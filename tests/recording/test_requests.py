"""What ingest is asked to fetch: which way, and with whose credentials."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from recorderd.model.device import CertificateCheck, CertificateValidation, Device, DeviceProtocol
from recorderd.model.receiver import Receiver, ReceiverConfiguration, StreamSetup, TransportProtocol
from recorderd.recording.requests import event_stream_request, metadata_request, stream_request

DEVICE = Device(id="gate", uid=uuid.uuid4(), address="192.0.2.7", username="root")


def asked(uri: str, device: Device | None = None, protocol: TransportProtocol = TransportProtocol.RTSP):
    configuration = ReceiverConfiguration(media_uri=uri, setup=StreamSetup(protocol=protocol))
    receiver = Receiver(id=uuid.uuid4(), token="receiver-1", configuration=configuration)
    return stream_request(receiver, device, "secret", prebuffer_s=0.0, want_metadata=False)


@pytest.mark.parametrize(
    ("uri", "protocol", "device", "transport"),
    [
        ("rtsp://192.0.2.7/s", TransportProtocol.RTSP, None, "tcp"),
        ("rtsp://192.0.2.7/s", TransportProtocol.UDP, None, "udp"),
        ("rtsp://192.0.2.7/s", TransportProtocol.HTTP, None, "http"),
        ("rtsps://192.0.2.7/s", TransportProtocol.RTSP, None, "rtsps"),
        ("http://192.0.2.7/s", TransportProtocol.RTSP, None, "http"),
        ("https://192.0.2.7/s", TransportProtocol.RTSP, None, "https"),
        ("rtsp://192.0.2.7/s", TransportProtocol.RTSP, DeviceProtocol.RTSPT, "tcp"),
        ("rtsp://192.0.2.7/s", TransportProtocol.RTSP, DeviceProtocol.RTSPH, "http"),
        ("rtsp://192.0.2.7/s", TransportProtocol.RTSP, DeviceProtocol.RTSPSH, "https"),
    ],
)
def test_which_way(uri, protocol, device, transport):
    known = None if device is None else Device(id="d", uid=uuid.uuid4(), address="192.0.2.7", protocol=device)
    assert asked(uri, known, protocol).transport == transport


@pytest.mark.parametrize(
    ("uri", "password"),
    [
        ("rtsp://192.0.2.7/s", "secret"),
        ("rtsp://192.0.2.7:8554/s", "secret"),
        ("rtsp://192.0.2.8/s", ""),
        ("rtsp://gate.example/s", ""),
    ],
)
def test_credentials_go_to_the_devices_address_alone(uri, password):
    assert asked(uri, DEVICE).password == password


@pytest.mark.parametrize("validation", CertificateValidation)
def test_media_and_events_check_a_certificate_as_the_device_says(validation):
    device = msgspec.structs.replace(DEVICE, certificate_validation=validation, ca_certificates=("one", "two"))
    expected = CertificateCheck(validation, ("one", "two"))
    assert asked("rtsps://192.0.2.7/s", device).certificates == expected
    assert event_stream_request(device, "secret").certificates == expected
    assert metadata_request(device, "secret").certificates == expected


def test_without_a_device_the_systems_authorities_vouch():
    assert asked("rtsps://192.0.2.7/s").certificates == CertificateCheck(CertificateValidation.STANDARD)


def test_names_for_logs_and_events():
    assert (asked("rtsp://192.0.2.7/s", DEVICE).name, asked("rtsp://192.0.2.7/s", DEVICE).token) == (
        "gate",
        "receiver-1",
    )
    assert asked("rtsp://192.0.2.7/s").name == "receiver-1"
