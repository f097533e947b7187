"""Receivers: how one stream of a device is fetched (ONVIF Receiver service)."""

from __future__ import annotations

import enum
import uuid

import msgspec


class ReceiverMode(enum.StrEnum):
    AUTO_CONNECT = "AutoConnect"  # as jobs need it
    ALWAYS_CONNECT = "AlwaysConnect"
    NEVER_CONNECT = "NeverConnect"


class ReceiverState(enum.StrEnum):
    NOT_CONNECTED = "NotConnected"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"


UNICAST = "RTP-Unicast"
MULTICAST = "RTP-Multicast"


class TransportProtocol(enum.StrEnum):
    UDP = "UDP"
    TCP = "TCP"
    RTSP = "RTSP"
    HTTP = "HTTP"


class StreamSetup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tt:StreamSetup: stream type, transport, and the transport it is tunnelled in, if any."""

    stream: str = UNICAST
    protocol: TransportProtocol = TransportProtocol.RTSP
    tunnel: TransportProtocol | None = None


class StreamOption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    value: str


class ReceiverConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ConfigureReceiver sets. `options` are appended to the URI's query verbatim and in order."""

    mode: ReceiverMode = ReceiverMode.AUTO_CONNECT
    media_uri: str = ""  # without userinfo
    setup: StreamSetup = StreamSetup()
    options: tuple[StreamOption, ...] = ()
    device: str = ""  # the device whose credentials are used; empty: the device with the URI's address
    audio: bool = True  # fetch audio where the stream has it
    video: bool = True
    metadata: bool = True


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver. `auto_created` ones are deleted with the last job that uses them (5.1)."""

    id: uuid.UUID
    token: str
    configuration: ReceiverConfiguration = ReceiverConfiguration()
    auto_created: bool = False
