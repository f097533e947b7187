"""`io.recorderd.Devices`."""

from __future__ import annotations

from recorderd.model.device import CertificateValidation, DeviceProtocol, DeviceSettings, EventTransport
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Devices")


class DeviceInfo(Message, frozen=True):
    id: str
    uid: str
    description: str
    serial_number: str
    address: str
    protocol: DeviceProtocol
    port: int
    certificate_validation: CertificateValidation
    ca_fingerprints: tuple[str, ...]
    username: str
    password_set: bool
    allow_basic: bool
    events_enabled: bool
    event_transport: EventTransport
    event_port: int
    events_state: str
    model: str
    mac: str
    poe_port: str
    replaced: tuple[str, ...]


class ListCall(Message, frozen=True):
    after: str | None = None


class ListReply(Message, frozen=True):
    devices: list[DeviceInfo]
    next: str | None = None


class DeviceCall(Message, frozen=True):
    device: str


class DeviceReply(Message, frozen=True):
    device: DeviceInfo


class SettingsCall(Message, frozen=True):
    device: str
    settings: DeviceSettings


class AddCall(Message, frozen=True):
    uri: str
    device: str | None = None
    name: str | None = None
    username: str | None = None
    password: str | None = None
    allow_basic: bool = False
    certificate_validation: CertificateValidation | None = None
    ca_certificates: tuple[str, ...] | None = None
    record: bool = False
    on_motion: bool = False
    before_ms: int = 0
    after_ms: int = 0


class AddReply(Message, frozen=True):
    device: str
    receiver: str | None = None
    recording: str | None = None
    job: str | None = None
    warnings: tuple[str, ...] = ()


LIST = INTERFACE.method("List", ListCall, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", DeviceCall, DeviceReply, access=Access.VIEW)
CREATE = INTERFACE.method("Create", SettingsCall, DeviceReply)
UPDATE = INTERFACE.method("Update", SettingsCall, DeviceReply)
DELETE = INTERFACE.method("Delete", DeviceCall, Nothing)
REPLACE = INTERFACE.method("Replace", SettingsCall, DeviceReply)
ADD = INTERFACE.method("Add", AddCall, AddReply)
