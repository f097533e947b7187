"""RTSP URLs: splitting, userinfo, options, and the control URLs of a session description (RFC 2326 3.2 and C.1.1, RFC 7826 4.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

DEFAULT_PORTS = {"rtsp": 554, "rtspu": 554, "rtsps": 322, "http": 80, "https": 443}
MAX_URL_BYTES = 2048

_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?:#.*)?")
_HOST = re.compile(r"[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._-]{1,15})?\]")
_UNSAFE = re.compile(r"[^\x21-\x7e]")


class UrlError(ValueError):
    """Not a URL this client can use. The text names the part that is wrong and never contains userinfo."""


@dataclass(frozen=True, slots=True)
class RtspUrl:
    """A URL without userinfo. `path` is everything from the first slash or question mark on, as the server will see it."""

    scheme: str  # lower case
    host: str  # without brackets
    port: int
    path: str

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def __str__(self) -> str:
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class UserInfo:
    username: str
    password: str


def parse_url(text: str) -> RtspUrl:
    """Splits `text`; userinfo is dropped (`split_userinfo` keeps it). Raises `UrlError`."""
    return split_userinfo(text)[0]


def split_userinfo(text: str) -> tuple[RtspUrl, UserInfo | None]:
    """The URL without userinfo, and the userinfo with its percent-escapes undone. Raises `UrlError`."""
    if len(text) > MAX_URL_BYTES:
        raise UrlError(f"URL is longer than {MAX_URL_BYTES} bytes")
    if _UNSAFE.search(text):
        raise UrlError("URL contains white space, a control character or a character outside ASCII")
    match = _URL.fullmatch(text)
    if match is None:
        raise UrlError("not an absolute URL")
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise UrlError(f"scheme {scheme!r} is not one of {', '.join(DEFAULT_PORTS)}")
    # A password may hold an unescaped @ (cameras' own web pages print such URLs): the last one ends the userinfo.
    credentials, _, hostport = match["authority"].rpartition("@")
    host, port = _split_port(hostport, DEFAULT_PORTS[scheme])
    if _HOST.fullmatch(host) is None:
        raise UrlError("host is missing or malformed")
    host = host.strip("[]").replace("%25", "%")
    path = match["rest"]
    if not path:
        path = "/"
    user = None
    if credentials:
        name, _, password = credentials.partition(":")
        user = UserInfo(unquote(name), unquote(password))
    return RtspUrl(scheme, host, port, path), user


def inside_tunnel(url: RtspUrl) -> RtspUrl:
    """The RTSP URL of what an `http` or `https` one names (ONVIF gives such URIs for RTSP over HTTP): the same server and path."""
    return RtspUrl("rtsp", url.host, url.port, url.path) if url.scheme in ("http", "https") else url


def _split_port(hostport: str, default: int) -> tuple[str, int]:
    if hostport.endswith("]") or ":" not in hostport:
        return hostport, default
    host, _, digits = hostport.rpartition(":")
    if not digits:
        return host, default
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise UrlError("port is not a number from 1 to 65535")
    return host, int(digits)


def with_options(url: RtspUrl, options: Sequence[tuple[str, str]]) -> RtspUrl:
    """Appends `options` to the query, in order. Characters that would end a query argument or the request line are escaped; all others
    stand as given: cameras compare them literally (resolution=1920x1080, overlays=all,time)."""
    if not options:
        return url
    safe = "!$'()*,;:@/?-._~"
    query = "&".join(f"{quote(name, safe=safe)}={quote(value, safe=safe + '=')}" for name, value in options)
    joint = "" if url.path.endswith(("?", "&")) else "&" if "?" in url.path else "?"
    path = url.path + joint + query
    if len(path) > MAX_URL_BYTES:
        raise UrlError(f"URL with its options is longer than {MAX_URL_BYTES} bytes")
    return RtspUrl(url.scheme, url.host, url.port, path)


def resolve_control(base: str, control: str) -> str:
    """The request URL for an `a=control` value.

    Absolute values stand as they are; `*` and an empty value mean the base. A relative one is appended after a slash, not merged by
    RFC 3986: that is what servers expect whose base has a query or lacks the final slash (every other client does it too).
    """
    if control in ("", "*"):
        return base
    if re.match(r"(?i)rtsp[su]?://", control):
        return control
    return base + control if base.endswith("/") or control.startswith("/") else f"{base}/{control}"
