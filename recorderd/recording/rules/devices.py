"""Devices: VAPIX External IP Device, and what the recorder adds (model, MAC, PoE port, new hardware under an old name)."""

from __future__ import annotations

import ipaddress
import re
import uuid

import msgspec

from recorderd.model.device import Device, DeviceSettings
from recorderd.model.faults import AlreadyExists, BadConfiguration, CannotDelete, MaxDevices, NoDevice
from recorderd.model.limits import Limits
from recorderd.model.objects import Draft
from recorderd.recording.requests import device_of, host_of, normal_host, with_host
from recorderd.recording.rules import certificates, check

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_SERIAL = re.compile(r"[A-Za-z0-9:_-]{0,64}")
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]?){5}[0-9A-Fa-f]{2}")


def create(draft: Draft, limits: Limits, device_id: str, settings: DeviceSettings) -> Device:
    check.token(device_id, "id", limits.token_chars)
    if device_id in draft.devices:
        raise AlreadyExists(f"there is a device {device_id!r} already", argument="id", got=device_id)
    if len(draft.devices) >= limits.devices:
        raise MaxDevices(f"the recorder takes {limits.devices} devices", expected=str(limits.devices))
    return _put(draft, limits, Device(id=device_id, uid=uuid.uuid4()), settings)


def update(draft: Draft, limits: Limits, device_id: str, settings: DeviceSettings) -> Device:
    return _put(draft, limits, get(draft, device_id), settings)


def get(draft: Draft, device_id: str) -> Device:
    device = draft.devices.get(device_id)
    if device is None:
        raise NoDevice(f"there is no device {device_id!r}", argument="id", got=device_id)
    return device


def _put(draft: Draft, limits: Limits, old: Device, settings: DeviceSettings) -> Device:
    given = {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}
    password = given.pop("password", None)
    device = msgspec.structs.replace(old, **given)
    check.text(device.description, "description", limits.description_chars)
    check.text(device.model, "model", limits.name_chars)
    check.text(device.username, "username", limits.name_chars)
    check.text(device.poe_port, "poe_port", 16)
    check.number(device.port, "port", 0, 65_535)
    check.number(device.event_port, "event_port", 0, 65_535)
    if device.address:
        check_host(device.address)
    if _SERIAL.fullmatch(device.serial_number) is None:
        raise BadConfiguration(
            "serial_number cannot be used", argument="serial_number", expected="letters, digits, : _ -"
        )
    if device.mac:
        if _MAC.fullmatch(device.mac) is None:
            raise BadConfiguration(
                "mac is no MAC address", argument="mac", expected="six bytes in hexadecimal", got=device.mac[:40]
            )
        digits = re.sub(r"[:-]", "", device.mac).lower()
        device = msgspec.structs.replace(device, mac=":".join(digits[i : i + 2] for i in range(0, 12, 2)))
    if settings.ca_certificates is not None:
        device = msgspec.structs.replace(device, ca_certificates=certificates.checked(settings.ca_certificates))
        certificates.check_used(device)
    draft.devices.put(device)
    if password is not None:
        check.text(password, "password", limits.secret_chars)
        draft.secret("device", device.id, "password", password or None)
    return device


def check_host(address: str) -> str:
    try:
        ipaddress.ip_address(address.strip("[]").split("%")[0])
    except ValueError:
        if len(address) > 253 or _HOST.fullmatch(address) is None or re.fullmatch(r"[\d.]+", address):
            raise BadConfiguration(
                "address is neither an IP address nor a host name",
                argument="address",
                expected="192.0.2.1, 2001:db8::1 or cam.lan",
            ) from None
    return address


def delete(draft: Draft, device_id: str) -> Device:
    """Refused while a receiver that a job uses fetches from it."""
    device = get(draft, device_id)
    by_id = {d.id: d for d in draft.devices}
    used = {s.token for job in draft.jobs for s in job.configuration.sources}
    for receiver in draft.receivers:
        if receiver.token in used and device_of(receiver.configuration, draft.devices, by_id) is device:
            raise CannotDelete(
                f"receiver {receiver.token} of a recording job fetches from it", argument="id", got=device_id
            )
    draft.devices.delete(device_id)
    return device


def replace_hardware(draft: Draft, limits: Limits, device_id: str, settings: DeviceSettings, until: str) -> Device:
    """New hardware under an old name: its recordings, jobs and receivers stay, what belonged to the old hardware is noted and cleared."""
    old = get(draft, device_id)
    note = " ".join(part for part in (old.serial_number or "-", old.mac or "-", old.model or "-", until))
    cleared = msgspec.structs.replace(
        old, serial_number="", mac="", model="", replaced=(*old.replaced, note)[-16:], ca_certificates=()
    )
    draft.devices.put(cleared)
    device = _put(draft, limits, cleared, settings)
    if settings.address is not None:
        _move_receivers(draft, old, device)
    return device


def _move_receivers(draft: Draft, old: Device, new: Device) -> None:
    """Receivers whose URI has the old address follow to the new one."""
    for receiver in list(draft.receivers):
        configuration = receiver.configuration
        if old.address and host_of(configuration.media_uri) == normal_host(old.address):
            moved = msgspec.structs.replace(configuration, media_uri=with_host(configuration.media_uri, new.address))
            draft.receivers.put(msgspec.structs.replace(receiver, configuration=moved))
