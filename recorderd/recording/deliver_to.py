"""Where a storage destination's configuration and its secrets meet, on the way to the delivery worker and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from recorderd.model.destination import EXPORT_TYPES, HTTP, LOCAL, PINNED, Destination
from recorderd.model.faults import BadConfiguration
from recorderd.protocol.delivery import Access, Deliver, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the settings say of exports; `secret` is the state file's (kind, key, name)."""

    folder: str
    own_file_system: bool
    ca_file: str
    secret: Callable[[str, str, str], str | None]


def deliver_to(destination: Destination, name: str, around: Surroundings, *, trial: bool = False) -> Deliver:
    """The work of delivering one file below the destination. Raises `BadConfiguration`."""
    if destination.type not in EXPORT_TYPES:
        raise BadConfiguration(
            f"nothing is written to a storage of type {destination.type}",
            argument="storage",
            expected=f"a storage of type {', '.join(EXPORT_TYPES)}",
            got=destination.type,
        )
    if destination.type == LOCAL:
        below = PurePosixPath(destination.local_path.strip("/"), name)
        return Deliver(Place.FOLDER, around.folder, str(below), own_file_system=around.own_file_system, trial=trial)
    secrets = [around.secret("destination", destination.token, name) or "" for name in ("password", "token")]
    access = Access(destination.username, *secrets) if destination.username else Access()
    if destination.type != HTTP and not (access.username and access.password):
        raise BadConfiguration(
            "S3 requests are signed: the storage needs an access key as user name and a secret key as password",
            argument="storage",
            expected="user name and password",
        )
    return Deliver(
        Place.HTTP if destination.type == HTTP else Place.S3,
        destination.storage_uri,
        name,
        region=destination.region,
        access=access,
        certificate=destination.certificate_policy.removeprefix(PINNED),
        ca_file=around.ca_file,
        trial=trial,
    )
