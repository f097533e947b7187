"""Digest and Basic authentication (RFC 7616, RFC 2617, RFC 2069, RFC 7617), as an RTSP client needs it.

A challenge is answered with the strongest scheme both sides know: SHA-256 before MD5, Digest before Basic, and Basic only where the
caller allows it. Credentials live in `Authenticator` alone; its repr and its errors never show them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_ALGORITHMS: dict[str, str] = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_STRENGTH = {"MD5": 1, "SHA-512-256": 2, "SHA-256": 3}
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s+|$)")
_PARAMETER = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))")
MAX_CHALLENGE_CHARS = 8192


class NotAllowed(Exception):
    """The server asks for something this client will not send; the text says what and how to allow it."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header. `parameters` has lower-case names and unquoted values."""

    scheme: str  # lower case
    parameters: dict[str, str]

    @property
    def algorithm(self) -> str:
        """Upper case, MD5 where none is given; with its -SESS suffix."""
        return self.parameters.get("algorithm", "MD5").upper() or "MD5"

    @property
    def stale(self) -> bool:
        return self.parameters.get("stale", "").lower() == "true"


def parse_challenges(values: Sequence[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate values, several per value or one each. What is malformed is left out."""
    challenges: list[Challenge] = []
    for value in values:
        value = value[:MAX_CHALLENGE_CHARS]
        position = 0
        while match := _SCHEME.match(value, position):
            if value[match.end() : match.end() + 1] == "=":
                break
            position = match.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(value, position):
                quoted, plain = parameter[2], parameter[3]
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                parameters.setdefault(parameter[1].lower(), text)
                position = parameter.end()
            challenges.append(Challenge(match[1].lower(), parameters))
    return challenges


@dataclass(slots=True)
class Authenticator:
    """Makes Authorization values for one server.

    `take_challenge` accepts a 401's challenges; `authorization` then makes the header for each request. `nonce_maker` gives the client
    nonce (random; a parameter for tests).
    """

    username: str
    password: str = field(repr=False)
    allow_basic: bool
    nonce_maker: Callable[[], str]
    _chosen: Challenge | None = field(default=None, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)

    def take_challenge(self, values: Sequence[str]) -> bool:
        """Whether a request answered 401 with these WWW-Authenticate values is worth sending again.

        False: the credentials themselves were refused (a second 401 that is not stale and asks for nothing stronger).
        Raises `NotAllowed` when no acceptable scheme is offered.
        """
        chosen = self._choose(parse_challenges(values))
        before = self._chosen
        self._chosen, self._count = chosen, 0
        if before is None or chosen.stale:
            return True
        # A server may rotate its nonce without saying "stale"; the same nonce again, or Basic again, is a plain refusal.
        return chosen.scheme == "digest" and before.parameters.get("nonce") != chosen.parameters.get("nonce")

    def _choose(self, challenges: Sequence[Challenge]) -> Challenge:
        if not self.username:
            raise NotAllowed("the camera asks for a user name and password, and none is set")
        digests = [c for c in challenges if c.scheme == "digest" and _usable(c)]
        if digests:
            return max(digests, key=lambda c: _STRENGTH[c.algorithm.removesuffix("-SESS")])
        if any(c.scheme == "basic" for c in challenges):
            if not self.allow_basic:
                raise NotAllowed(
                    "the camera offers only Basic authentication, and the connection is not encrypted or the camera's certificate"
                    " not checked for its name (certificate_validation standard); set allow_basic to send the password all the same"
                )
            return next(c for c in challenges if c.scheme == "basic")
        offered = ", ".join(sorted({c.scheme for c in challenges})) or "none"
        raise NotAllowed(f"no authentication scheme in common (offered: {offered[:100]})")

    def authorization(self, method: str, url: str) -> str | None:
        """The Authorization value for a request, or None while no challenge has been seen."""
        if self._chosen is None:
            return None
        if self._chosen.scheme == "basic":
            pair = f"{self.username}:{self.password}".encode()
            return "Basic " + base64.b64encode(pair).decode("ascii")
        self._count += 1
        return digest(self._chosen, self.username, self.password, method, url, self._count, self.nonce_maker())


def _usable(challenge: Challenge) -> bool:
    p = challenge.parameters
    if challenge.algorithm.removesuffix("-SESS") not in _ALGORITHMS or not p.get("nonce") or "realm" not in p:
        return False
    qops = _qops(challenge)
    return not qops or "auth" in qops


def _qops(challenge: Challenge) -> list[str]:
    return [q.strip().lower() for q in challenge.parameters.get("qop", "").split(",") if q.strip()]


def digest(challenge: Challenge, username: str, password: str, method: str, url: str, count: int, cnonce: str) -> str:
    """The Digest credentials of RFC 7616 3.4, or of RFC 2069 when the challenge has no qop. `count` is nc."""
    algorithm = challenge.algorithm
    p = challenge.parameters

    def h(text: str) -> str:
        return hashlib.new(_ALGORITHMS[algorithm.removesuffix("-SESS")], text.encode()).hexdigest()

    ha1 = h(f"{username}:{p['realm']}:{password}")
    if algorithm.endswith("-SESS"):
        ha1 = h(f"{ha1}:{p['nonce']}:{cnonce}")
    ha2 = h(f"{method}:{url}")
    fields = {"username": username, "realm": p["realm"], "nonce": p["nonce"], "uri": url}
    plain: dict[str, str] = {}
    if _qops(challenge):
        nc = f"{count:08x}"
        fields["response"] = h(f"{ha1}:{p['nonce']}:{nc}:{cnonce}:auth:{ha2}")
        plain = {"qop": "auth", "nc": nc}
        fields["cnonce"] = cnonce
    else:
        fields["response"] = h(f"{ha1}:{p['nonce']}:{ha2}")
        if algorithm.endswith("-SESS"):
            fields["cnonce"] = cnonce
    if "opaque" in p:
        fields["opaque"] = p["opaque"]
    if "algorithm" in p:
        plain["algorithm"] = p["algorithm"]
    quoted = [f'{name}="{_quote(value)}"' for name, value in fields.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in plain.items()])


def _quote(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
