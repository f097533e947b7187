"""What the daemon asks of its delivery worker, and what that answers: one file to one storage destination.

The first message has the read end of a pipe with it, from which the file comes. When the pipe has ended, `FileEnds` says that this was
the whole file; without it the worker takes back what it began. It is the only worker that learns an address or a credential, and it
reads nothing but that pipe and the destination's answers.
"""

from __future__ import annotations

import enum

import msgspec


class Place(enum.StrEnum):
    """Kinds of destination that files can be delivered to."""

    FOLDER = "folder"
    HTTP = "http"
    S3 = "s3"


class Problem(enum.StrEnum):
    """Why a delivery failed, by what can be done about it."""

    PASSING = "passing"  # the same again later may work: network, overload, a clock that is not set
    FULL = "full"
    DENIED = "denied"  # credentials or rights
    ABSENT = "absent"  # no such bucket, folder or host
    CERTIFICATE = "certificate"
    REFUSED = "refused"  # anything else; the same again will fail again
    GIVEN_UP = "given up"  # by us


class Access(msgspec.Struct, frozen=True):
    """Credentials. They are sent to the destination and shown to nobody."""

    username: str = ""
    password: str = ""
    token: str = ""  # session token of S3

    def __repr__(self) -> str:
        return "Access(...)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """msgspec gives structs one that shows the fields."""
        return []


class Deliver(msgspec.Struct, frozen=True):
    """The first message. `root` is a folder's path or a URL; `name` the file's name below it, with slashes between folders.

    `certificate` is the SHA-256 of the only certificate to accept, in hexadecimal; empty: what the system (or `ca_file`) vouches for.
    `trial`: nothing is to stay; the file is removed again.
    """

    place: Place
    root: str
    name: str
    content_type: str = "video/mp4"
    region: str = ""
    access: Access = Access()
    certificate: str = ""
    ca_file: str = ""
    part_bytes: int = 8 << 20  # what is held in memory and sent anew after a failure
    patience_s: float = 900.0  # without progress
    own_file_system: bool = False  # FOLDER: refuse a root on which none of its own is mounted
    trial: bool = False


class FileEnds(msgspec.Struct, frozen=True, tag=True):
    """The pipe has ended because the file has; it has so many bytes."""

    bytes: int


class Delivered(msgspec.Struct, frozen=True, tag=True):
    """So many bytes are with the destination; what they are worth if the rest fails depends on it."""

    bytes: int


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """A try failed; the next one is in `seconds`."""

    reason: str
    seconds: float


class DeliveryDone(msgspec.Struct, frozen=True, tag=True):
    """The last message. Without a problem the destination has acknowledged the whole file."""

    bytes: int
    problem: Problem | None = None
    reason: str = ""


DeliveryAnswer = Delivered | Waiting | DeliveryDone
