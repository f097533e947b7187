"""`org.varlink.service`: what lets any Varlink client ask a service what it offers."""

from __future__ import annotations

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("org.varlink.service")


class Info(Message, frozen=True):
    vendor: str
    product: str
    version: str
    url: str
    interfaces: list[str]


class DescriptionCall(Message, frozen=True):
    interface: str


class Description(Message, frozen=True):
    description: str


GET_INFO = INTERFACE.method("GetInfo", Nothing, Info, access=Access.VIEW)
GET_INTERFACE_DESCRIPTION = INTERFACE.method(
    "GetInterfaceDescription", DescriptionCall, Description, access=Access.VIEW
)
