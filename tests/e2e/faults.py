"""Everything a simulated camera can do wrong for a while, and what the timeline must say of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hw.sim.camera import Camera, Credentials, Faults
from recorderd.model.causes import GapCause as Cause


@dataclass(frozen=True)
class Trouble:
    """`causes` are the gaps that may be on the timeline while it lasts: the first must be when `certain`; none at all when it is empty.
    With `loses` packets are lost: counted, and a gap only where nothing else of that moment was left to store.

    `recovery_s` is how long after its end there may still be a gap: the longest pause between two attempts, and a GOP.
    """

    name: str
    begin: Callable[[Camera], Awaitable[None]]
    end: Callable[[Camera], Awaitable[None]]
    causes: tuple[Cause, ...] = ()
    recovery_s: float = 35.0
    certain: bool = True
    loses: bool = False


def _set(*, close: bool = False, **faults: object) -> Callable[[Camera], Awaitable[None]]:
    async def do(camera: Camera) -> None:
        for name, value in faults.items():
            setattr(camera.faults, name, value)
        if close:
            camera.close()

    return do


async def _nothing(camera: Camera) -> None:
    pass


def _fault(name: str, *causes: Cause, close: bool = False, **faults: object) -> Trouble:
    healthy = {field: getattr(Faults(), field) for field in faults}
    return Trouble(name, _set(close=close, **faults), _set(**healthy), causes)


def _once(name: str, do: Callable[[Camera], object], *causes: Cause) -> Trouble:
    async def begin(camera: Camera) -> None:
        do(camera)

    return Trouble(name, begin, _nothing, causes)


def _jump(name: str, seconds: float) -> Trouble:
    async def begin(camera: Camera) -> None:
        camera.step_timestamps(seconds)

    return Trouble(name, begin, _nothing, (Cause.CAMERA_ERROR,), certain=False)


async def _vanish(camera: Camera) -> None:
    camera.refuse()
    camera.reset()


async def _lock_out(camera: Camera) -> None:
    camera.set_credentials(Credentials("nobody", "knows"))
    camera.close()


async def _let_in(camera: Camera) -> None:
    camera.set_credentials(None)


TROUBLES = [
    _fault("media stops, RTSP answers", Cause.NO_MEDIA, stall=True),
    _fault("hangs with the connection open", Cause.CAMERA_SILENT, hang=True),
    _fault("nothing after PLAY", Cause.NO_MEDIA, Cause.CAMERA_CLOSED, no_media=True, close=True),
    _fault("wrong URL", Cause.NOT_FOUND, Cause.CAMERA_CLOSED, not_found=True, close=True),
    _once("closes the connection", Camera.close, Cause.CAMERA_CLOSED),
    _once("resets the connection", Camera.reset, Cause.CAMERA_RESET),
    Trouble("goes and refuses", _vanish, Camera.accept, (Cause.CAMERA_REFUSED, Cause.CAMERA_RESET)),
    Trouble("wants a password", _lock_out, _let_in, (Cause.UNAUTHORIZED, Cause.CAMERA_CLOSED), recovery_s=305.0),
    Trouble("loses 5 % of its packets", _set(loss=0.05), _set(loss=0.0), loses=True),
    Trouble("sends packets out of order", _set(reorder=0.1), _set(reorder=0.0), loses=True),
    _fault("wrong Content-Length", Cause.CAMERA_CLOSED, content_length_error=3000, close=True),
    _fault("no marker bits", no_marker=True),
    _fault("junk between packets", junk=3),
    _fault("drifts by 500 ppm", drift_ppm={"video": 500.0}),
    _fault("nonsense in sender reports", reports="nonsense"),
    _fault("sender reports of 1900", reports="zero"),
    _fault("sender reports that never move", reports="stale"),
    _fault("no sender reports", reports="none"),
    _once("its clock jumps ahead", lambda camera: camera.clock.step(3600.0)),
    _once("its clock jumps back", lambda camera: camera.clock.step(-7200.0)),
    _jump("its media time jumps ahead", 10.0),
    _jump("its media time jumps back", -10.0),
    _once("other parameter sets", lambda camera: camera.source.change_parameter_sets()),
]
