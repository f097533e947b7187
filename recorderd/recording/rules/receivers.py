"""Receivers (ONVIF Receiver service)."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import msgspec

from recorderd.model.faults import BadConfiguration, BadMode, CannotDeleteReceiver, MaxReceivers, UnknownToken
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.model.receiver import UNICAST, Receiver, ReceiverConfiguration, ReceiverMode
from recorderd.recording.rules import check


def get(draft: Draft, token: str) -> Receiver:
    receiver = draft.receivers.get(token)
    if receiver is None:
        raise UnknownToken(f"there is no receiver {token!r}", argument="receiver", got=token)
    return receiver


def create(
    draft: Draft, limits: Limits, configuration: ReceiverConfiguration, *, auto_created: bool = False
) -> Receiver:
    if len(draft.receivers) >= limits.receivers:
        raise MaxReceivers(f"the recorder takes {limits.receivers} receivers", expected=str(limits.receivers))
    receiver = Receiver(
        id=uuid.uuid4(),
        token=f"receiver-{draft.number('receiver')}",
        configuration=checked(draft, limits, configuration),
        auto_created=auto_created,
    )
    draft.receivers.put(receiver)
    return receiver


def configure(draft: Draft, limits: Limits, token: str, configuration: ReceiverConfiguration) -> Receiver:
    receiver = msgspec.structs.replace(get(draft, token), configuration=checked(draft, limits, configuration))
    draft.receivers.put(receiver)
    return receiver


def set_mode(draft: Draft, token: str, mode: str) -> Receiver:
    receiver = get(draft, token)
    try:
        wanted = ReceiverMode(mode)
    except ValueError:
        raise BadMode("no such mode", argument="mode", expected=", ".join(ReceiverMode), got=mode[:40]) from None
    changed = msgspec.structs.replace(
        receiver, configuration=msgspec.structs.replace(receiver.configuration, mode=wanted)
    )
    draft.receivers.put(changed)
    return changed


def delete(draft: Draft, token: str) -> None:
    get(draft, token)
    for job in draft.jobs:
        if any(source.token == token for source in job.configuration.sources):
            raise CannotDeleteReceiver(f"recording job {job.token} uses it", argument="receiver", got=token)
    draft.receivers.delete(token)


def checked(draft: Draft, limits: Limits, configuration: ReceiverConfiguration) -> ReceiverConfiguration:
    """Raises `BadConfiguration`. Userinfo must have been moved to the device before (`split_credentials`)."""
    uri = check.text(configuration.media_uri, "media_uri", limits.uri_chars)
    if uri:
        try:
            parts = urlsplit(uri)
            port_is_sane = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_is_sane = urlsplit(""), False
        named = bool(configuration.device) and not parts.scheme and not parts.netloc
        if not port_is_sane or not (named or (parts.scheme in ("rtsp", "rtsps", "http", "https") and parts.hostname)):
            raise BadConfiguration(
                "media_uri cannot be used", argument="media_uri", expected="rtsp://host[:port]/path", got=uri[:80]
            )
        if "@" in parts.netloc:
            raise BadConfiguration(
                "media_uri has a password in it", argument="media_uri", expected="credentials in the device"
            )
    if configuration.setup.stream != UNICAST:
        raise BadConfiguration(
            "only unicast is supported", argument="setup.stream", expected=UNICAST, got=configuration.setup.stream[:40]
        )
    if configuration.device and configuration.device not in draft.devices:
        raise BadConfiguration(
            f"there is no device {configuration.device!r}", argument="device", got=configuration.device
        )
    if len(configuration.options) > 64:
        raise BadConfiguration("too many stream options", argument="options", expected="at most 64")
    for option in configuration.options:
        check.text(option.name, "options.name", 64)
        check.text(option.value, "options.value", 256)
    return configuration
