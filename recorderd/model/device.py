"""Devices: the cameras the recorder knows (VAPIX External IP Device). The password is not here: it lives in the secret table."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass

import msgspec


class DeviceProtocol(enum.StrEnum):
    """How RTSP reaches the device, in VAPIX's words."""

    RTSPT = "rtspt"  # RTSP, media interleaved in its TCP connection
    RTSPH = "rtsph"  # RTSP tunnelled in HTTP
    RTSPSH = "rtspsh"  # RTSP tunnelled in HTTPS


class CertificateValidation(enum.StrEnum):
    OFF = "off"
    STANDARD = "standard"
    LIMITED = "limited"  # the chain is checked, the name is not


@dataclass(frozen=True, slots=True)
class CertificateCheck:
    """How a device's certificate is checked: whether and for its name, and by whose word. No `authorities`: by the system's."""

    validation: CertificateValidation = CertificateValidation.STANDARD
    authorities: tuple[str, ...] = ()  # PEM, one certificate each; they stand in place of the system's


class EventTransport(enum.StrEnum):
    """How a device's events come, where they are wanted."""

    METADATA = "metadata"  # the RTSP metadata stream: with the media of a receiver, or alone
    WEBSOCKET = "websocket"  # an Axis camera's event stream over WebSocket
    PULLPOINT = "pullpoint"  # an ONVIF pull point


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera. `id` is the operator's or the VMS's; `uid` is the recorder's and never reused. Only `id` is mandatory."""

    id: str
    uid: uuid.UUID
    description: str = ""
    serial_number: str = ""
    address: str = ""  # IPv4, IPv6 or host name; empty while it is not known
    protocol: DeviceProtocol = DeviceProtocol.RTSPT
    port: int = 0  # 0: the protocol's default
    certificate_validation: CertificateValidation = CertificateValidation.OFF
    ca_certificates: tuple[str, ...] = ()  # PEM, one each: who may vouch for it, in place of the system's authorities
    username: str = ""
    allow_basic: bool = False  # Basic authentication without TLS that is checked (`device_tls.may_send_basic`)
    events_enabled: bool = False  # listen for motion even where no job records metadata
    event_transport: EventTransport = EventTransport.METADATA
    event_port: int = 0  # of the device's web server, for transports other than metadata; 0: 80, with rtspsh 443
    model: str = ""
    mac: str = ""
    poe_port: str = ""  # the label printed on the case
    replaced: tuple[str, ...] = ()  # "serial mac until" of the hardware that stood here before, oldest first


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sets; None leaves it as it is (at creation: the default)."""

    description: str | None = None
    serial_number: str | None = None
    address: str | None = None
    protocol: DeviceProtocol | None = None
    port: int | None = None
    certificate_validation: CertificateValidation | None = None
    ca_certificates: tuple[str, ...] | None = None
    username: str | None = None
    password: str | None = None
    allow_basic: bool | None = None
    events_enabled: bool | None = None
    event_transport: EventTransport | None = None
    event_port: int | None = None
    model: str | None = None
    mac: str | None = None
    poe_port: str | None = None
