"""The ONVIF event service of a simulated camera: pull points (Core specification, 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

from hw.sim.camera.http import HttpRequest, response
from hw.sim.camera.metadata import StatefulEvent, WithEvents, notification

ONVIF_PATH = "/onvif/"
SERVICE = ONVIF_PATH + "event_service"
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tev="http://www.onvif.org/ver10/events/wsdl" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"'
    ' xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:wsa5="http://www.w3.org/2005/08/addressing"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:tns1="http://www.onvif.org/ver10/topics"'
    ' xmlns:tnsaxis="http://www.axis.com/2009/event/topics"><env:Body>{}</env:Body></env:Envelope>'
)
_TIMEOUT = re.compile(rb"Timeout>PT(\d+)S<")


@dataclass(slots=True, eq=False)
class _Point:
    waiting: list[str] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)


class PullPoints:
    """The addresses it gives have a wrong host, as those of cameras behind translated addresses."""

    def __init__(self, source: WithEvents) -> None:
        self._source = source
        self.points: dict[str, _Point] = {}
        self._made = 0
        self.fault = ""  # every question is answered with it
        self.garbage = b""  # the next question is answered with it

    def tell(self, event: StatefulEvent, active: bool, operation: str) -> None:
        for point in self.points.values():
            point.waiting.append(notification(event, active, operation, self._source.wall_ns()))
            point.happened.set()

    async def answer(self, request: HttpRequest) -> bytes:
        if self.garbage:
            garbage, self.garbage = self.garbage, b""
            return response(200, body=garbage)
        if self.fault:
            return _fault(self.fault)
        if request.path == SERVICE and b"CreatePullPointSubscription" in request.body:
            return self._create()
        point = self.points.get(request.path)
        if point is None:
            return _fault("no such subscription")
        if b"Unsubscribe" in request.body:
            del self.points[request.path]
            return _answer("<wsnt:UnsubscribeResponse/>")
        return await self._pull(point, request)

    def _create(self) -> bytes:
        self._made += 1
        path = f"{ONVIF_PATH}sub/{self._made}"
        now_ns, states = self._source.wall_ns(), self._source.states
        self.points[path] = _Point([notification(e, on, "Initialized", now_ns) for e, on in states.items()])
        address = f"<wsa:Address>http://10.255.255.1:81{path}</wsa:Address>"
        reference = f"<tev:SubscriptionReference>{address}</tev:SubscriptionReference>"
        return _answer(
            f"<tev:CreatePullPointSubscriptionResponse>{reference}</tev:CreatePullPointSubscriptionResponse>"
        )

    async def _pull(self, point: _Point, request: HttpRequest) -> bytes:
        asked = _TIMEOUT.search(request.body)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(int(asked[1]) if asked else 1):
                while not point.waiting:
                    point.happened.clear()
                    await point.happened.wait()
        told, point.waiting = point.waiting, []
        return _answer(f"<tev:PullMessagesResponse>{''.join(told)}</tev:PullMessagesResponse>")


def _answer(body: str) -> bytes:
    return response(200, body=_ENVELOPE.format(body).encode())


def _fault(text: str) -> bytes:
    reason = f'<env:Reason><env:Text xml:lang="en">{text}</env:Text></env:Reason>'
    body = f"<env:Fault><env:Code><env:Value>env:Receiver</env:Value></env:Code>{reason}</env:Fault>"
    return response(500, body=_ENVELOPE.format(body).encode())
