"""The words of `recorderctl`: each names the module that holds its arguments and its actions, imported only when asked for.

Such a module has `add_arguments(parser)`, which sets `run` to a function `(arguments, session) -> exit code`.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    module: str
    summary: str


COMMANDS: dict[str, Command] = {
    "status": Command("status", "is everything recorded that should be, worst first"),
    "why": Command("why", "walk the chain from a camera's power to its durable media"),
    "timeline": Command("timeline", "a recording's day as a drawn bar, with its gaps and their causes"),
    "export": Command("export", "copy a span of a recording into an MP4 file"),
    "snapshot": Command("export", "save one picture of a recording as JPEG"),
    "devices": Command("devices", "the cameras: add, change, replace"),
    "receivers": Command("receivers", "how the streams of devices are fetched"),
    "recordings": Command("recordings", "recordings: what is kept, for how long"),
    "tracks": Command("tracks", "the tracks of a recording"),
    "jobs": Command("jobs", "what is recorded when"),
    "schedules": Command("schedules", "times at which jobs record"),
    "groups": Command("groups", "recording groups"),
    "exports": Command("exports", "exports that the recorder writes to a storage by itself"),
    "storages": Command("storages", "storage destinations: folders, HTTP servers and S3 buckets for exports"),
    "configuration": Command("configuration", "all that is configured, and its copy on the data disk"),
    "events": Command("events", "watch, search and raise events"),
    "locks": Command("locks", "ranges that are kept from recycling and deletion"),
    "disks": Command("disks", "the disks: list, format, check, repair, mount, unmount, health"),
    "fsck": Command("fsck", "check the ring of recordings, in use or unmounted, and repair it"),
    "poe": Command("poe", "PoE ports: status, on, off, cycle, priority, limit, budget"),
    "net": Command("net", "the network: status, set, apply, confirm, rollback, leases, neighbours"),
    "time": Command("time", "the clock: status, set, zone, servers, trust"),
    "board": Command("board", "check the board: controllers, buses, supply, sensors"),
    "bridge": Command("bridge", "join standard input and output to the control socket (what -H runs)"),
    "completion": Command("completion", "print the completion script for a shell"),
    "version": Command("version", "versions of this command and of the recorder"),
}
