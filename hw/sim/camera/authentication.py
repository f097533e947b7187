"""The server's side of HTTP authentication: Basic (RFC 7617) and Digest with MD5 or SHA-256 (RFC 7616, RFC 2069)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_PAIR = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may connect, and how. `schemes`: any of "Basic", "MD5", "SHA-256", offered in this order; `qop` as RFC 7616, else as RFC 2069."""

    username: str
    password: str
    schemes: tuple[str, ...] = ("MD5",)
    qop: bool = True
    realm: str = "simulated camera"


class Authenticator:
    """Checks requests against one set of credentials; a nonce may be retired, which clients see as stale."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._nonce = secrets.token_hex(16)
        self._retired: set[str] = set()

    def retire_nonce(self) -> None:
        self._retired.add(self._nonce)
        self._nonce = secrets.token_hex(16)

    def challenges(self, *, stale: bool) -> list[str]:
        """Values for WWW-Authenticate headers."""
        lines = []
        for scheme in self.credentials.schemes:
            if scheme == "Basic":
                lines.append(f'Basic realm="{self.credentials.realm}"')
                continue
            line = f'Digest realm="{self.credentials.realm}", nonce="{self._nonce}", algorithm={scheme}'
            lines.append(line + (', qop="auth"' if self.credentials.qop else "") + (", stale=TRUE" if stale else ""))
        return lines

    def check(self, method: str, header: str) -> tuple[bool, bool]:
        """(allowed, the nonce was stale) for an Authorization header's value; empty when there was none."""
        scheme, _, rest = header.partition(" ")
        if scheme.lower() == "basic" and "Basic" in self.credentials.schemes:
            try:
                given = base64.b64decode(rest, validate=True)
            except binascii.Error:
                return False, False
            wanted = f"{self.credentials.username}:{self.credentials.password}".encode()
            return hmac.compare_digest(given, wanted), False
        if scheme.lower() != "digest":
            return False, False
        fields = {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(rest)}
        algorithm = fields.get("algorithm", "MD5").upper()
        if algorithm not in self.credentials.schemes or fields.get("username") != self.credentials.username:
            return False, False
        right = hmac.compare_digest(fields.get("response", ""), self._response(method, fields, algorithm))
        nonce = fields.get("nonce", "")
        return right and nonce == self._nonce, right and nonce in self._retired

    def _response(self, method: str, fields: dict[str, str], algorithm: str) -> str:
        def digest(text: str) -> str:
            return _HASHES[algorithm](text.encode()).hexdigest()

        who = digest(f"{self.credentials.username}:{self.credentials.realm}:{self.credentials.password}")
        what = digest(f"{method}:{fields.get('uri', '')}")
        if "qop" in fields:
            middle = f"{fields.get('nonce', '')}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:{fields['qop']}"
        else:
            middle = fields.get("nonce", "")
        return digest(f"{who}:{middle}:{what}")
