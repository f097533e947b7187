"""Commands to simulated cameras as JSON lines on a Unix socket, for tests and people outside the cameras' process.

One request per line, one reply per line: `{"camera": "front", "do": "faults", "stall": true}` gives `{"ok": true}`, a mistake gives
`{"ok": false, "error": "..."}` and changes nothing. `python -m hw.sim.camera --control PATH` serves it.

| do | arguments |
|---|---|
| list | none; replies with every camera's name, URL, sessions, requests and faults |
| faults | any fields of `faults.Faults` with their new values; the others stay |
| clear | none: no faults any more |
| refuse, accept | none: stop and start listening |
| reset, close | none: end all connections, by a TCP reset or in good order |
| parameter-sets | none: the video goes over to its other parameter sets |
| clock | `step_s`, `drift_ppm`: the camera's own clock |
| rtp-step | `seconds`: RTP time jumps |
| authentication | `user`, `password`, `schemes`; without `user` nothing is asked for any more |
| stale | none: the nonce in use becomes stale |
| event | `active`, and `topic` unless the camera has one event only |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hw.sim.camera.authentication import Credentials
from hw.sim.camera.camera import Camera
from hw.sim.camera.faults import Faults
from hw.sim.camera.metadata import WithEvents

LINE_BYTES = 64 * 1024


class Mistake(Exception):
    """The command cannot be obeyed; says why."""


async def obey(cameras: Mapping[str, Camera], line: bytes) -> dict[str, Any]:
    """Carries out one line and gives the reply."""
    try:
        command = json.loads(line)
        if not isinstance(command, dict):
            raise Mistake("a command is a JSON object")
        verb = command.pop("do", "")
        if verb == "list":
            return {"ok": True, "cameras": [_describe(camera) for camera in cameras.values()]}
        camera = cameras.get(command.pop("camera", ""))
        if camera is None:
            raise Mistake(f"no such camera; there are {', '.join(cameras)}")
        await _do(camera, verb, command)
    except KeyError as missing:
        return {"ok": False, "error": f"{missing} is missing"}
    except (Mistake, ValueError, TypeError, RecursionError) as mistake:
        return {"ok": False, "error": str(mistake)}
    return {"ok": True}


async def _do(camera: Camera, verb: str, arguments: dict[str, Any]) -> None:
    match verb:
        case "faults":
            set_faults(camera.faults, arguments)
        case "clear":
            set_faults(camera.faults, asdict(Faults()))
        case "refuse":
            camera.refuse()
        case "accept":
            await camera.accept()
        case "reset":
            camera.reset()
        case "close":
            camera.close()
        case "parameter-sets":
            camera.source.change_parameter_sets()
        case "clock":
            camera.clock.step(float(arguments.get("step_s", 0.0)))
            if "drift_ppm" in arguments:
                camera.clock.drift(float(arguments["drift_ppm"]))
        case "rtp-step":
            camera.step_timestamps(float(arguments["seconds"]))
        case "authentication":
            user, password = arguments.get("user"), arguments.get("password", "")
            schemes = tuple(arguments.get("schemes", ("MD5",)))
            camera.set_credentials(Credentials(user, password, schemes) if user else None)
        case "stale":
            if camera.authenticator is None:
                raise Mistake("the camera asks for no password")
            camera.authenticator.retire_nonce()
        case "event":
            _event(camera, arguments)
        case _:
            raise Mistake(f"unknown command {verb!r}")


def set_faults(faults: Faults, values: Mapping[str, object]) -> None:
    """Sets fields by name. Raises `Mistake` for an unknown name or a value of another type, and changes nothing then."""
    known = {field.name: type(getattr(faults, field.name)) for field in fields(faults)}
    checked = {}
    for name, value in values.items():
        kind = known.get(name)
        if kind is None:
            raise Mistake(f"no fault {name!r}; there are {', '.join(known)}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise Mistake(f"{name} takes {kind.__name__}")
        checked[name] = value
    for name, value in checked.items():
        setattr(faults, name, value)


def _event(camera: Camera, arguments: dict[str, Any]) -> None:
    source = camera.source
    if not isinstance(source, WithEvents):
        raise Mistake("the camera has no metadata stream")
    topic = arguments.get("topic", next(iter(source.states)).topic)
    event = next((event for event in source.states if event.topic == topic), None)
    if event is None:
        raise Mistake(f"no event {topic!r}; there are {', '.join(event.topic for event in source.states)}")
    source.set(event, bool(arguments["active"]))


def _describe(camera: Camera) -> dict[str, Any]:
    return {
        "name": camera.name,
        "url": camera.url,
        "connections": len(camera.connections),
        "playing": camera.playing,
        "accepted": camera.accepted,
        "timed_out": camera.timed_out,
        "requests": camera.requests,
        "faults": asdict(camera.faults),
    }


async def serve(cameras: Mapping[str, Camera], path: Path) -> asyncio.Server:
    """Listens on a Unix socket; its folder decides who may command."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await obey(cameras, line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line over the limit
            return
        finally:
            writer.close()

    return await asyncio.start_unix_server(client, path, limit=LINE_BYTES)
