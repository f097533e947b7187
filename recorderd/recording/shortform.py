"""From one URL to a working recording: the rule behind `recorderctl devices add`, as one change."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from recorderd.events.cameras import UNIVERSAL_MOTION
from recorderd.model.device import CertificateValidation, Device, DeviceProtocol, DeviceSettings
from recorderd.model.faults import BadConfiguration
from recorderd.model.job import EventCondition, EventFilter, JobMode, JobRequest, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import RecordingConfiguration, SourceInformation
from recorderd.recording.requests import normal_host
from recorderd.recording.rules import devices, jobs, receivers, recordings

_NOT_ID = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Addition:
    """What is asked for. `device` empty: made from the host. A known device with the same address is used again."""

    uri: str
    device: str = ""
    name: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    allow_basic: bool = False
    certificate_validation: CertificateValidation | None = None
    ca_certificates: tuple[str, ...] | None = None
    record: bool = False
    on_motion: bool = False
    before_ms: int = 0
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Added:
    device: str
    receiver: str | None = None
    recording: str | None = None
    job: str | None = None


def add(draft: Draft, limits: Limits, wanted: Addition) -> Added:
    """Raises the faults of what it creates."""
    uri, username, password = split_credentials(wanted.uri)
    host = urlsplit(uri).hostname
    if host is None:
        raise BadConfiguration("the URL has no host", argument="uri", expected="rtsp://host[:port]/path")
    settings = DeviceSettings(
        address=host,
        description=wanted.name or None,
        username=wanted.username if wanted.username is not None else username,
        password=wanted.password if wanted.password is not None else password,
        allow_basic=wanted.allow_basic or None,
        certificate_validation=wanted.certificate_validation,
        ca_certificates=wanted.ca_certificates,
        events_enabled=True if wanted.on_motion else None,
        protocol=DeviceProtocol.RTSPSH if urlsplit(uri).scheme == "https" else None,
    )
    device = _device(draft, limits, wanted, host, settings)
    receiver = receivers.create(draft, limits, ReceiverConfiguration(media_uri=uri, device=device.id))
    if not wanted.record:
        return Added(device.id, receiver.token)
    source = SourceInformation(source_id=f"urn:uuid:{device.uid}", name=wanted.name or device.id, address=uri)
    recording = recordings.create(draft, limits, RecordingConfiguration(source=source))
    request = JobRequest(
        recording=recording.token,
        mode=JobMode.ACTIVE.value,
        event_filter=_on_motion(device, wanted) if wanted.on_motion else None,
        sources=(SourceRequest(token=receiver.token),),
    )
    return Added(device.id, receiver.token, recording.token, jobs.create(draft, limits, request).token)


def _on_motion(device: Device, wanted: Addition) -> EventFilter:
    condition = EventCondition(topic=UNIVERSAL_MOTION, source=f"device={device.id}")
    return EventFilter(conditions=(condition,), before_ms=wanted.before_ms, after_ms=wanted.after_ms)


def _device(draft: Draft, limits: Limits, wanted: Addition, host: str, settings: DeviceSettings) -> Device:
    known = next((d for d in draft.devices if d.address and normal_host(d.address) == normal_host(host)), None)
    if known is not None and wanted.device in ("", known.id):
        return devices.update(draft, limits, known.id, settings)
    return devices.create(draft, limits, wanted.device or _free_id(draft, host), settings)


def _free_id(draft: Draft, host: str) -> str:
    base = _NOT_ID.sub("-", host).strip("-.")[:56] or "camera"
    taken = {d.id for d in draft.devices}
    return base if base not in taken else next(i for n in range(2, 1000) if (i := f"{base}-{n}") not in taken)


def split_credentials(uri: str) -> tuple[str, str | None, str | None]:
    """The URI without its userinfo, user name and password. Raises `BadConfiguration` for what is no URI."""
    try:
        parts = urlsplit(uri.strip())
        username, password, port = parts.username, parts.password, parts.port
    except ValueError:
        raise BadConfiguration("not a URL", argument="uri", expected="rtsp://host[:port]/path") from None
    host = parts.hostname or ""
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    return (
        urlunsplit(parts._replace(netloc=netloc)),
        unquote(username) if username is not None else None,
        unquote(password) if password is not None else None,
    )
