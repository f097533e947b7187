"""The client's states and what moves it between them. No socket, no clock and no bytes are in this file.

Theory of operation
===================

A session has one request on its way at a time. `State` names the request whose answer is awaited (PLAYING: none has to be). What comes
from the camera is reduced to an `Answer`; the pair is looked up in `TRANSITIONS`, which names the next step. A pair that is not in the
table falls back to `DEFAULTS`; nothing else decides where the session goes.

    IDLE --start--> OPTIONS -> DESCRIBE -> SETUP (once per track) -> PLAY -> PLAYING --stop--> TEARDOWN -> CLOSED

* OPTIONS is asked for what the camera can do; that it refuses to say is no reason to give up.
* A 401 is answered in every state by asking again with credentials, once per challenge (`Step.AUTHENTICATE`).
* A redirect ends the connection; the driver decides whether to follow.
* A track that cannot be set up is left out, unless it is the last one, or the video that was asked for.
* Media that arrives before PLAY is answered proves the answer: the session is open from then on, and the answer itself says nothing new.
* While PLAYING, keep-alives go out; one that is refused or ignored is sent with the next method of `KEEP_ALIVES`. Whether *media* comes
  is not this table's concern but the driver's: it may ask for a probe, for PLAY again, or give up.
* The camera's own requests (TEARDOWN, REDIRECT, ANNOUNCE, OPTIONS ...) are answered in every state, see `SERVER_REQUESTS`.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    IDLE = "idle"
    OPTIONS = "OPTIONS"
    DESCRIBE = "DESCRIBE"
    SETUP = "SETUP"
    PLAY = "PLAY"
    PLAYING = "playing"
    TEARDOWN = "TEARDOWN"
    CLOSED = "closed"


class Answer(enum.Enum):
    """A response, reduced to what matters for the way on."""

    OK = "2xx"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    REDIRECT = "3xx"
    NOT_FOUND = "404, 410"
    UNSUPPORTED = "405, 501, 551"
    SESSION_NOT_FOUND = "454"
    NOT_NOW = "455"
    AGGREGATE_NOT_ALLOWED = "459"
    TRANSPORT = "461"
    ERROR = "other 4xx, 5xx"


class Step(enum.Enum):
    """What the client does next. Each is a method of `client.Client`."""

    DESCRIBE = "describe"
    SETUP_FIRST = "setup_first"
    SETUP_NEXT = "setup_next"
    SKIP_TRACK = "skip_track"
    OPEN = "open"
    PLAY_EACH = "play_each"
    ALIVE = "alive"
    NEXT_KEEP_ALIVE = "next_keep_alive"
    AUTHENTICATE = "authenticate"
    REDIRECT = "redirect"
    FAIL = "fail"
    FINISH = "finish"


TRANSITIONS: dict[tuple[State, Answer], Step] = {
    (State.OPTIONS, Answer.OK): Step.DESCRIBE,
    (State.OPTIONS, Answer.UNSUPPORTED): Step.DESCRIBE,
    (State.OPTIONS, Answer.NOT_FOUND): Step.DESCRIBE,
    (State.OPTIONS, Answer.ERROR): Step.DESCRIBE,
    (State.DESCRIBE, Answer.OK): Step.SETUP_FIRST,
    (State.SETUP, Answer.OK): Step.SETUP_NEXT,
    (State.SETUP, Answer.NOT_FOUND): Step.SKIP_TRACK,
    (State.SETUP, Answer.UNSUPPORTED): Step.SKIP_TRACK,
    (State.SETUP, Answer.TRANSPORT): Step.SKIP_TRACK,
    (State.SETUP, Answer.FORBIDDEN): Step.SKIP_TRACK,
    (State.SETUP, Answer.ERROR): Step.SKIP_TRACK,
    (State.PLAY, Answer.OK): Step.OPEN,
    (State.PLAY, Answer.AGGREGATE_NOT_ALLOWED): Step.PLAY_EACH,
    (State.PLAYING, Answer.OK): Step.ALIVE,
    (State.PLAYING, Answer.NOT_NOW): Step.ALIVE,
    (State.PLAYING, Answer.UNSUPPORTED): Step.NEXT_KEEP_ALIVE,
    (State.PLAYING, Answer.NOT_FOUND): Step.NEXT_KEEP_ALIVE,
    (State.PLAYING, Answer.FORBIDDEN): Step.NEXT_KEEP_ALIVE,
    (State.PLAYING, Answer.AGGREGATE_NOT_ALLOWED): Step.NEXT_KEEP_ALIVE,
    (State.PLAYING, Answer.TRANSPORT): Step.NEXT_KEEP_ALIVE,
    (State.PLAYING, Answer.ERROR): Step.NEXT_KEEP_ALIVE,
    **{(State.TEARDOWN, answer): Step.FINISH for answer in Answer},
}

DEFAULTS: dict[Answer, Step] = {
    Answer.UNAUTHORIZED: Step.AUTHENTICATE,
    Answer.REDIRECT: Step.REDIRECT,
    **{answer: Step.FAIL for answer in Answer if answer not in (Answer.UNAUTHORIZED, Answer.REDIRECT)},
}

KEEP_ALIVES = ("GET_PARAMETER", "SET_PARAMETER", "OPTIONS")

SERVER_REQUESTS: dict[str, tuple[int, str]] = {
    "OPTIONS": (200, "OK"),
    "GET_PARAMETER": (200, "OK"),
    "SET_PARAMETER": (200, "OK"),
    "ANNOUNCE": (200, "OK"),
    "PLAY_NOTIFY": (200, "OK"),
    "REDIRECT": (200, "OK"),
    "TEARDOWN": (200, "OK"),
}


def classify(status: int) -> Answer:
    """The `Answer` of a status code (RFC 2326 7.1.1)."""
    if 200 <= status < 300:
        return Answer.OK
    if 300 <= status < 400:
        return Answer.REDIRECT if status != 304 else Answer.ERROR
    return _EXACT.get(status, Answer.ERROR)


_EXACT = {
    401: Answer.UNAUTHORIZED,
    403: Answer.FORBIDDEN,
    404: Answer.NOT_FOUND,
    410: Answer.NOT_FOUND,
    405: Answer.UNSUPPORTED,
    501: Answer.UNSUPPORTED,
    551: Answer.UNSUPPORTED,
    454: Answer.SESSION_NOT_FOUND,
    455: Answer.NOT_NOW,
    459: Answer.AGGREGATE_NOT_ALLOWED,
    461: Answer.TRANSPORT,
}


def step(state: State, answer: Answer) -> Step:
    return TRANSITIONS.get((state, answer)) or DEFAULTS[answer]
