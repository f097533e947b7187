"""From receiver and device objects to what ingest is asked to fetch: pure, and the only place where credentials meet a URI."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from recorderd.model.device import CertificateCheck, Device, DeviceProtocol
from recorderd.model.ports import EventStreamRequest, StreamRequest
from recorderd.model.receiver import Receiver, ReceiverConfiguration, TransportProtocol

AXIS_MEDIA_PATH = "/axis-media/media.amp"
_TRANSPORTS = {DeviceProtocol.RTSPT: "tcp", DeviceProtocol.RTSPH: "http", DeviceProtocol.RTSPSH: "https"}


@lru_cache(maxsize=1024)  # every change of a device compares it with all receivers
def host_of(uri: str) -> str:
    """The host of a URI in a form that compares equal for equal addresses; empty where there is none."""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return ""
    return normal_host(host)


@lru_cache(maxsize=1024)
def normal_host(host: str) -> str:
    """An address in one of its spellings, a name in lower case."""
    try:
        return ipaddress.ip_address(host.strip("[]")).compressed
    except ValueError:
        return host.rstrip(".").lower()


def device_of(
    configuration: ReceiverConfiguration, devices: Iterable[Device], find: dict[str, Device]
) -> Device | None:
    """The device a receiver belongs to: the one it names, else the one with the URI's address. `find` is devices by id."""
    if configuration.device:
        return find.get(configuration.device)
    host = host_of(configuration.media_uri)
    return next((d for d in devices if host and d.address and normal_host(d.address) == host), None)


def transport_of(configuration: ReceiverConfiguration, device: Device | None) -> str:
    """What ingest calls it. A receiver's own set-up counts; plain RTSP takes the device's protocol."""
    setup = configuration.setup
    scheme = urlsplit(configuration.media_uri).scheme
    if scheme in ("rtsps", "http", "https"):
        return scheme
    if setup.protocol is TransportProtocol.UDP:
        return "udp"
    if TransportProtocol.HTTP in (setup.protocol, setup.tunnel):
        return "https" if device is not None and device.protocol is DeviceProtocol.RTSPSH else "http"
    return _TRANSPORTS[device.protocol] if device is not None else "tcp"


def full_uri(configuration: ReceiverConfiguration, device: Device | None) -> str:
    """The media URI, with the device's port where the URI has none; a bare path is put on the device's address."""
    uri = configuration.media_uri
    if device is None or not device.address:
        return uri
    parts = urlsplit(uri)
    if not parts.netloc:
        host = f"[{device.address}]" if ":" in device.address else device.address
        parts = parts._replace(scheme="rtsp", netloc=host, path="/" + parts.path.lstrip("/"))
    if parts.port is None and device.port:
        parts = parts._replace(netloc=f"{parts.netloc}:{device.port}")
    return urlunsplit(parts)


def _options(configuration: ReceiverConfiguration, uri: str, *, events: bool) -> tuple[tuple[str, str], ...]:
    """The receiver's own, and `event=on` where an Axis camera is to send its events along (VAPIX, RTSP metadata)."""
    options = tuple((o.name, o.value) for o in configuration.options)
    parts = urlsplit(uri)
    given = {name for name, _ in (*options, *parse_qsl(parts.query, keep_blank_values=True))}
    if not events or parts.path != AXIS_MEDIA_PATH or "event" in given:
        return options
    return (*options, ("event", "on"))


def stream_request(
    receiver: Receiver,
    device: Device | None,
    password: str,
    *,
    prebuffer_s: float,
    want_metadata: bool,
) -> StreamRequest:
    """What ingest gets. The password goes along only when the URI's host is the device's own address."""
    configuration = receiver.configuration
    uri = full_uri(configuration, device)
    known = device is not None and bool(device.address) and host_of(uri) == normal_host(device.address)
    request = StreamRequest(
        receiver=receiver.id,
        name=device.id if device is not None else receiver.token,
        uri=uri,
        transport=transport_of(configuration, device),
        options=_options(configuration, uri, events=want_metadata),
        want_video=configuration.video,
        want_audio=configuration.audio,
        want_metadata=configuration.metadata or want_metadata,
        prebuffer_s=prebuffer_s,
        device=device.uid if device is not None else None,
        token=receiver.token,
    )
    if device is None:
        return request
    return replace(
        request,
        username=device.username if known else "",
        password=password if known else "",
        allow_basic=device.allow_basic,
        certificates=CertificateCheck(device.certificate_validation, device.ca_certificates),
    )


def metadata_alone(request: StreamRequest) -> StreamRequest:
    """The same stream without its pictures and sound. An Axis camera need not even encode them."""
    alone = replace(request, want_video=False, want_audio=False, want_metadata=True, prebuffer_s=0.0)
    if urlsplit(request.uri).path != AXIS_MEDIA_PATH:
        return alone
    kept = tuple((name, value) for name, value in request.options if name not in ("video", "audio"))
    return replace(alone, options=(("video", "0"), ("audio", "0"), *kept))


def metadata_request(device: Device, password: str) -> StreamRequest:
    """The event stream of an Axis camera of which no stream is known: metadata alone, over RTSP."""
    receiver = Receiver(
        id=device.uid,
        token=device.id,
        configuration=ReceiverConfiguration(media_uri=AXIS_MEDIA_PATH, device=device.id),
    )
    return metadata_alone(stream_request(receiver, device, password, prebuffer_s=0.0, want_metadata=True))


def event_stream_request(device: Device, password: str) -> EventStreamRequest:
    """The event stream of a device's web server. Encrypted as its media are."""
    encrypted = device.protocol is DeviceProtocol.RTSPSH
    return EventStreamRequest(
        device=device.id,
        voice=device.uid,
        transport=device.event_transport.value,
        host=device.address,
        port=device.event_port or (443 if encrypted else 80),
        encrypted=encrypted,
        username=device.username,
        password=password,
        allow_basic=device.allow_basic,
        certificates=CertificateCheck(device.certificate_validation, device.ca_certificates),
    )


def with_host(uri: str, address: str) -> str:
    """The same URI at another address; the port stays."""
    parts = urlsplit(uri)
    host = f"[{address}]" if ":" in address else address
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}" if parts.port is not None else host))
