"""`io.recorderd`: the version, and the home of the shared errors."""

from __future__ import annotations

from recorderd.protocol.interface import Access, Interface
from recorderd.protocol.message import Message, Nothing

INTERFACE = Interface("io.recorderd")
PROTOCOL = 1


class Version(Message, frozen=True):
    version: str
    protocol: int


GET_VERSION = INTERFACE.method("GetVersion", Nothing, Version, access=Access.VIEW)
