"""Storage destinations (ONVIF device management, StorageConfiguration)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from recorderd.model.destination import DESTINATION_TYPES, EXPORT_TYPES, HTTP, LOCAL, PINNED, Destination
from recorderd.model.faults import BadConfiguration, CannotDelete, MaxStorageConfigurations, NoConfig
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.recording.rules import check

MAX_PATH_BYTES = 200
SECRETS = ("password", "token")
_PINNED = re.compile(PINNED + "[0-9a-f]{64}")


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
    check.text(destination.local_path, "local_path", limits.uri_chars)
    check.text(destination.region, "region", limits.name_chars)
    check.text(destination.username, "username", limits.name_chars)
    check.text(destination.certificate_policy, "certificate_policy", 80)
    if "@" in urlsplit(destination.storage_uri).netloc:
        raise BadConfiguration(
            "storage_uri has a password in it", argument="storage_uri", expected="user name and password apart"
        )
    if destination.type == LOCAL:
        relative_path(destination.local_path, "local_path")
    elif destination.type in EXPORT_TYPES:
        _check_server(destination)
    draft.destinations.put(destination)
    for name, value in secrets.items():
        if name not in SECRETS:
            raise BadConfiguration("no such secret", argument=name, expected=", ".join(SECRETS))
        check.text(value, name, 4096)
        draft.secret("destination", destination.token, name, value or None)
    return destination


def _check_server(destination: Destination) -> None:
    address = urlsplit(destination.storage_uri)
    try:
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # of a port that is none
        usable = False
    if not usable or address.query or address.fragment or not destination.storage_uri.isascii():
        raise BadConfiguration(
            "that is no address to upload to",
            argument="storage_uri",
            expected="https://host/folder, percent-encoded, without ? and #",
            got=destination.storage_uri[:80],
        )
    if destination.type == HTTP and destination.username and address.scheme != "https":
        raise BadConfiguration("a password is sent over TLS only", argument="storage_uri", expected="https://")
    policy = destination.certificate_policy
    if policy and _PINNED.fullmatch(policy) is None:
        raise BadConfiguration(
            "no such certificate policy",
            argument="certificate_policy",
            expected="sha256: and 64 hexadecimal digits, or nothing",
            got=policy,
        )


def relative_path(path: str, argument: str) -> str:
    """A path that stays below where it begins, as it will be used. Raises `BadConfiguration`."""
    check.text(path, argument, MAX_PATH_BYTES)
    steps = path.strip("/").split("/") if path.strip("/") else []
    if any(step in ("", ".", "..") for step in steps) or len(steps) > 16 or len(path.encode()) > MAX_PATH_BYTES:
        raise BadConfiguration(
            "that is no path below the storage", argument=argument, expected="folder/folder", got=path[:80]
        )
    return "/".join(steps)


def delete(draft: Draft, token: str) -> None:
    get(draft, token)
    for recording in draft.recordings:
        target = recording.configuration.target
        if target is not None and target.storage == token:
            raise CannotDelete(f"recording {recording.token} records to it", argument="token", got=token)
    draft.destinations.delete(token)
