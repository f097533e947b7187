"""`io.recorderd.Receivers`."""

from __future__ import annotations

from recorderd.model.receiver import ReceiverConfiguration, ReceiverState
from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd.Receivers")


class ReceiverInfo(Message, frozen=True):
    token: str
    configuration: ReceiverConfiguration
    auto_created: bool
    state: ReceiverState
    detail: str
    device: str


class ListCall(Message, frozen=True):
    after: str | None = None


class ListReply(Message, frozen=True):
    receivers: list[ReceiverInfo]
    next: str | None = None


class ReceiverCall(Message, frozen=True):
    receiver: str


class ReceiverReply(Message, frozen=True):
    receiver: ReceiverInfo


class CreateCall(Message, frozen=True):
    configuration: ReceiverConfiguration


class ConfigureCall(Message, frozen=True):
    receiver: str
    configuration: ReceiverConfiguration


class ModeCall(Message, frozen=True):
    receiver: str
    mode: str


class Capabilities(Message, frozen=True):
    supported_receivers: int
    maximum_uri_length: int
    rtp_multicast: bool
    rtp_tcp: bool
    rtp_rtsp_tcp: bool


LIST = INTERFACE.method("List", ListCall, ListReply, access=Access.VIEW)
GET = INTERFACE.method("Get", ReceiverCall, ReceiverReply, access=Access.VIEW)
CREATE = INTERFACE.method("Create", CreateCall, ReceiverReply)
CONFIGURE = INTERFACE.method("Configure", ConfigureCall, Nothing)
SET_MODE = INTERFACE.method("SetMode", ModeCall, Nothing)
DELETE = INTERFACE.method("Delete", ReceiverCall, Nothing)
GET_CAPABILITIES = INTERFACE.method("GetCapabilities", Nothing, Capabilities, access=Access.VIEW)
