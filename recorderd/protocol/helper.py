"""What the daemon and the privileged helper say to each other: one request per connection, progress, one answer.

Messages are JSON on one line of at most `MAX_LINE` bytes. The list of verbs is closed: every request is one of the structs below, with
arguments that the helper checks again by itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_LINE = 256 * 1024

# A whole disk: no partition, no path below /dev that could be a link.
DevicePath = Annotated[str, Meta(pattern=r"^/dev/(sd[a-z]{1,2}|vd[a-z]|nvme[0-9]n[0-9]|mmcblk[0-9]|loop[0-9]{1,3})$")]
InterfaceName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,15}$")]


class Verb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="verb"):
    """Base of the requests."""


class ListDisks(Verb, frozen=True, tag="disks"):
    """Answer: `Disks`."""


class MakeFileSystem(Verb, frozen=True, tag="mkfs"):
    """Erases the disk: one file system for the ring, and with `objects_bytes` a second one for exports. `holds` must be what `Disks` said
    of it just before: a disk that changed meanwhile is not touched. Answer: `Made`."""

    device: DevicePath
    holds: str
    kind: Literal["ext4", "xfs"] = "ext4"
    objects_bytes: Annotated[int, Meta(ge=0)] = 0


class Mount(Verb, frozen=True, tag="mount"):
    """Mounts the ring's (and the objects') file system of a disk at the configured places. Answer: `Done`."""

    device: DevicePath


class Unmount(Verb, frozen=True, tag="unmount"):
    """Answer: `Done`."""

    device: DevicePath


class CheckFileSystem(Verb, frozen=True, tag="check"):
    """Checks the unmounted file system of a disk; `repair` mends it. Answer: `Checked`."""

    device: DevicePath
    repair: bool = False


class ReadHealth(Verb, frozen=True, tag="smart"):
    """Answer: `Health`: what smartctl says, as JSON, or why it says nothing."""

    device: DevicePath


class SetTimeout(Verb, frozen=True, tag="timeout"):
    """How long the kernel waits for one command of this disk. Answer: `Done`."""

    device: DevicePath
    seconds: Annotated[int, Meta(ge=5, le=180)]


class Capture(Verb, frozen=True, tag="capture"):
    """Packets of one interface for a support bundle, as pcap behind the answer (`Done`) until the bounds are reached."""

    interface: InterfaceName
    seconds: Annotated[int, Meta(ge=1, le=60)]
    max_bytes: Annotated[int, Meta(ge=4096, le=64 << 20)]


class Reboot(Verb, frozen=True, tag="reboot"):
    """Answer: `Done`, then the machine goes down."""


Request = ListDisks | MakeFileSystem | Mount | Unmount | CheckFileSystem | ReadHealth | SetTimeout | Capture | Reboot


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="reply"):
    """Base of what the helper says."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A partition, or the whole disk where it has none."""

    device: str
    size_bytes: int
    fs_kind: str = ""
    label: str = ""
    mounted_at: str = ""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """`holds` describes the content in one line. `system` disks carry the running system and are never touched."""

    device: str
    model: str = ""
    serial: str = ""
    size_bytes: int
    rotational: bool
    removable: bool
    transport: str = ""
    system: bool
    holds: str
    parts: list[Part]
    timeout_s: int | None = None
    write_cache: Literal["write back", "write through", "unknown"] = "unknown"
    life_used_percent: int | None = None  # of eMMC, by its own registers (JESD84-B51, 7.4.83)
    reserve: Literal["normal", "low", "used up", "unknown"] = "unknown"  # spare blocks of eMMC (JESD84-B51, 7.4.85)


class Progress(Reply, frozen=True, tag="progress"):
    text: str


class Done(Reply, frozen=True, tag="done"):
    pass


class Disks(Reply, frozen=True, tag="disks"):
    disks: list[Disk]


class Made(Reply, frozen=True, tag="made"):
    ring_part: str
    objects_part: str = ""


class Checked(Reply, frozen=True, tag="checked"):
    """`clean`: nothing wrong is left. `output`: the tool's own words, at most 16 KiB of them."""

    clean: bool
    output: str


class Health(Reply, frozen=True, tag="health"):
    """`smart`: smartctl's JSON; `null` when there is none, and `detail` says why."""

    smart: msgspec.Raw = msgspec.Raw(b"null")  # not `| None`: msgspec then takes nothing but null
    detail: str = ""


class Failed(Reply, frozen=True, tag="failed"):
    """`refused`: the request was not allowed; otherwise it was tried and went wrong."""

    text: str
    refused: bool = False


AnyReply = Progress | Done | Disks | Made | Checked | Health | Failed

_request: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_reply: msgspec.json.Decoder[AnyReply] = msgspec.json.Decoder(AnyReply)


def encode(message: Request | AnyReply) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises ValueError for anything that is not a request."""
    return _request.decode(line)


def decode_reply(line: bytes) -> AnyReply:
    """Raises ValueError."""
    return _reply.decode(line)
