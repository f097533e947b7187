"""Requests to the camera, one at a time: numbered, authenticated, matched with their answers; and those that only keep a session alive.

Sans-IO. Which request comes when is `client.py`'s matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from recorderd import __version__
from recorderd.model.causes import GapCause
from recorderd.rtsp.auth import Authenticator, NotAllowed
from recorderd.rtsp.events import Answered
from recorderd.rtsp.inbound import Inbound
from recorderd.rtsp.messages import MessageError, Request, Response, encode_request, encode_response
from recorderd.rtsp.transitions import KEEP_ALIVES, SERVER_REQUESTS, State

USER_AGENT = f"recorderd/{__version__}"
DEFAULT_TIMEOUT_S = 60


@dataclass(slots=True)
class Outstanding:
    """A request whose answer is being waited for. `attempts`: how often it was sent before, for want of credentials."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    cseq: int
    sent_ns: int
    attempts: int = 0


class Asking(Inbound):
    """Base of the client."""

    def __init__(self, url: str, authenticator: Authenticator) -> None:
        super().__init__()
        self._authenticator = authenticator
        self._aggregate = url  # what requests for the whole session name
        self._out = bytearray()
        self._cseq = 0
        self._outstanding: Outstanding | None = None
        self._public: frozenset[str] = frozenset()  # methods that the camera says it knows
        self._keep_alive = 0  # index in `KEEP_ALIVES`
        self._next_keep_alive_ns = 0
        self._session = ""
        self._timeout_s = DEFAULT_TIMEOUT_S
        self.server = ""

    def _redirected(self, location: str) -> None:
        """The client's: the camera says where the stream is."""
        raise NotImplementedError

    def output(self) -> bytes:
        """What to write to the connection now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def _choose_keep_alive(self) -> None:
        """By what the camera says it knows."""
        self._keep_alive = 0
        if self._public and "GET_PARAMETER" not in self._public:
            self._keep_alive = 1 if "SET_PARAMETER" in self._public else 2

    def _postpone_keep_alive(self) -> None:
        """By half the session's time-out, and never more than 30 s: some cameras promise 60 s and keep 40."""
        self._next_keep_alive_ns = self._now_ns + min(self._timeout_s // 2, 30) * 1_000_000_000

    def _send_keep_alive(self) -> None:
        self._postpone_keep_alive()
        self._send(KEEP_ALIVES[self._keep_alive], self._aggregate, State.PLAYING)

    def _send(
        self, method: str, url: str, state: State, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        self._state = state
        self._transmit(method, url, headers or {}, body, 0)

    def _transmit(self, method: str, url: str, headers: dict[str, str], body: bytes, attempts: int) -> None:
        self._cseq += 1
        lines = {"CSeq": str(self._cseq), "User-Agent": USER_AGENT}
        if self._session:
            lines["Session"] = self._session
        authorization = self._authenticator.authorization(method, url)
        if authorization is not None:
            lines["Authorization"] = authorization
        try:
            self._out += encode_request(method, url, lines | headers, body)
        except MessageError as error:
            self._end(GapCause.CAMERA_ERROR, f"the camera's answer leads to an impossible request: {error}")
            return
        self._outstanding = Outstanding(method, url, headers, body, self._cseq, self._now_ns, attempts)

    def _take_session(self, response: Response) -> None:
        value = response.headers.get("Session")
        if not value or self._state is not State.SETUP:
            return
        identifier, _, parameters = value.partition(";")
        self._session = identifier.strip()[:256]
        match = re.search(r"timeout\s*=\s*([0-9]{1,6})", parameters)
        if match is not None:
            self._timeout_s = min(max(int(match[1]), 4), 3600)

    def _alive(self, waiting: Outstanding, _: Response) -> None:
        self._output.event(Answered(waiting.method))

    def _refused_keep_alive(self, waiting: Outstanding, response: Response) -> None:
        self._output.event(Answered(waiting.method))
        if waiting.method in KEEP_ALIVES and "Content-Type" not in waiting.headers and response.status != 200:
            self._rotate_keep_alive()

    def _rotate_keep_alive(self) -> None:
        self._keep_alive = (self._keep_alive + 1) % len(KEEP_ALIVES)
        self._next_keep_alive_ns = min(self._next_keep_alive_ns, self._now_ns + 1_000_000_000)

    def _authenticate(self, waiting: Outstanding, response: Response) -> None:
        try:
            again = self._authenticator.take_challenge(response.headers.all("WWW-Authenticate"))
        except NotAllowed as error:
            self._end(GapCause.UNAUTHORIZED, str(error))
            return
        if not again or waiting.attempts >= 3:
            self._end(GapCause.UNAUTHORIZED, "the camera refuses the user name or password")
            return
        self._transmit(waiting.method, waiting.url, waiting.headers, waiting.body, waiting.attempts + 1)

    def _asked(self, request: Request) -> None:
        status, reason = SERVER_REQUESTS.get(request.method, (501, "Not Implemented"))
        headers = {"CSeq": str(request.cseq or 0), "User-Agent": USER_AGENT}
        if request.method == "OPTIONS":
            headers["Public"] = ", ".join(SERVER_REQUESTS)
        self._out += encode_response(status, reason, headers)
        if request.method == "TEARDOWN":
            self._end(GapCause.CAMERA_CLOSED, "the camera ended the session (TEARDOWN)")
        elif request.method == "REDIRECT":
            self._redirected(request.headers.get("Location"))
