"""Storage destinations (ONVIF device management, StorageConfiguration). Uploading to them is a later step."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from recorderd.model.destination import DESTINATION_TYPES, Destination
from recorderd.model.faults import BadConfiguration, CannotDelete, MaxStorageConfigurations, NoConfig
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.recording.rules import check

SECRETS = ("password", "token")


def get(draft: Draft, token: str) -> Destination:
    destination = draft.destinations.get(token)
    if destination is None:
        raise NoConfig(f"there is no storage {token!r}", argument="token", got=token)
    return destination


def create(draft: Draft, limits: Limits, destination: Destination, secrets: dict[str, str]) -> Destination:
    if len(draft.destinations) >= limits.destinations:
        raise MaxStorageConfigurations(
            f"the recorder takes {limits.destinations} storage destinations", expected=str(limits.destinations)
        )
    token = f"storage-{draft.number('destination')}"
    return put(draft, limits, msgspec.structs.replace(destination, token=token), secrets)


def put(draft: Draft, limits: Limits, destination: Destination, secrets: dict[str, str]) -> Destination:
    """`secrets`: password and token as far as they change; an empty one is removed."""
    if destination.type not in DESTINATION_TYPES:
        raise BadConfiguration(
            "no such type", argument="type", expected=", ".join(DESTINATION_TYPES), got=destination.type[:40]
        )
    check.text(destination.storage_uri, "storage_uri", limits.uri_chars)
    if "@" in urlsplit(destination.storage_uri).netloc:
        raise BadConfiguration(
            "storage_uri has a password in it", argument="storage_uri", expected="user name and password apart"
        )
    check.text(destination.local_path, "local_path", limits.uri_chars)
    check.text(destination.region, "region", limits.name_chars)
    check.text(destination.username, "username", limits.name_chars)
    check.text(destination.certificate_policy, "certificate_policy", limits.name_chars)
    draft.destinations.put(destination)
    for name, value in secrets.items():
        if name not in SECRETS:
            raise BadConfiguration("no such secret", argument=name, expected=", ".join(SECRETS))
        check.text(value, name, 4096)
        draft.secret("destination", destination.token, name, value or None)
    return destination


def delete(draft: Draft, token: str) -> None:
    get(draft, token)
    for recording in draft.recordings:
        target = recording.configuration.target
        if target is not None and target.storage == token:
            raise CannotDelete(f"recording {recording.token} records to it", argument="token", got=token)
    draft.destinations.delete(token)
