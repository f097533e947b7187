"""One HTTP/1.1 connection to a destination, with bounded answers and a deadline for every request.

From the standard library: an upload needs a connection, a certificate check and a few headers, and the smallest process that has them.
Redirects are not followed: a credential goes to the address it was configured for.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from recorderd.protocol.delivery import Problem
from recorderd.workers.delivery.failure import Failure, from_os_error

MAX_ANSWER_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_SILENCE_S = 30.0  # of a socket
_SLOWEST_BYTES_S = 32 * 1024  # a request that goes slower has hung


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Connection:
    """Opened with the first request and again after a failure. `watch` is called between pieces and may raise to give up."""

    def __init__(self, url: str, *, certificate: str, ca_file: str, watch: Callable[[], None]) -> None:
        """Raises Failure for a CA file that cannot be read."""
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.netloc
        self.path = parts.path.rstrip("/")
        self._address = (parts.hostname or "", parts.port)
        self._certificate = certificate
        self.watch = watch
        self._context = _context(ca_file, pinned=bool(certificate)) if self.secure else None
        self._open: http.client.HTTPConnection | None = None

    def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | memoryview | Iterable[bytes] = b""
    ) -> Answer:
        """`body` in one piece is sent with its length; pieces are sent chunked. Raises Failure."""
        size = len(body) if isinstance(body, bytes | memoryview) else None
        deadline = time.monotonic() + _SILENCE_S + (size or 0) / _SLOWEST_BYTES_S
        try:
            connection = self._connected()
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in ({"host": self.host} | dict(headers)).items():
                connection.putheader(name, value)
            if size is not None:
                connection.putheader("content-length", str(size))
            else:
                connection.putheader("transfer-encoding", "chunked")
            connection.endheaders()
            try:
                if isinstance(body, bytes | memoryview):
                    self._send_whole(connection, memoryview(body), deadline)
                else:
                    self._send_chunks(connection, body)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                pass  # it may have answered before it closed: the answer says why, or there is none, which is said below
            return self._answer(connection)
        except OSError as error:
            self.close()
            raise from_os_error(error) from error
        except http.client.HTTPException as error:
            self.close()
            raise Failure(Problem.PASSING, f"it does not answer in HTTP ({type(error).__name__})") from error
        except BaseException:
            self.close()
            raise

    def _connected(self) -> http.client.HTTPConnection:
        if self._open is None:
            host, port = self._address
            if self._context is not None:
                secure = http.client.HTTPSConnection(host, port, timeout=_SILENCE_S, context=self._context)
                self._open = secure
                secure.connect()
                if self._certificate:
                    self._check_pinned(secure)
            else:
                self._open = http.client.HTTPConnection(host, port, timeout=_SILENCE_S)
                self._open.connect()
        return self._open

    def _check_pinned(self, connection: http.client.HTTPSConnection) -> None:
        """Before anything is sent. Raises Failure."""
        assert isinstance(connection.sock, ssl.SSLSocket)
        shown = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(shown, self._certificate):
            raise Failure(Problem.CERTIFICATE, f"its certificate is another than the one configured: sha256:{shown}")

    def _send_whole(self, connection: http.client.HTTPConnection, body: memoryview, deadline: float) -> None:
        for start in range(0, len(body), _CHUNK_BYTES):
            self.watch()
            if time.monotonic() > deadline:
                raise TimeoutError
            connection.send(body[start : start + _CHUNK_BYTES])

    def _send_chunks(self, connection: http.client.HTTPConnection, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.watch()
            if piece:
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")

    def _answer(self, connection: http.client.HTTPConnection) -> Answer:
        reply = connection.getresponse()
        body = reply.read(MAX_ANSWER_BYTES + 1)
        if reply.length and len(body) <= MAX_ANSWER_BYTES:
            raise http.client.IncompleteRead(body, reply.length)
        headers = {name.lower(): value for name, value in reply.getheaders()}
        if len(body) > MAX_ANSWER_BYTES or reply.will_close:
            self.close()
        return Answer(reply.status, headers, body[:MAX_ANSWER_BYTES])

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _context(ca_file: str, *, pinned: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if ca_file:
            context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Failure(Problem.CERTIFICATE, f"the certificates in {ca_file} cannot be used") from error
    if pinned:  # the fingerprint is the whole check, made before a byte of ours is sent
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
