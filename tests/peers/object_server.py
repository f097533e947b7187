"""An object store on loopback: S3 as far as uploads go, with every signature checked by botocore, and plain HTTP PUT with Basic.

What it is to do wrong is given beforehand: each `Fault` is used once, by the first request it fits. Objects appear only when whole.
"""

from __future__ import annotations

import base64
import calendar
import contextlib
import hashlib
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET, REGION = "AKIDTEST", "not/a+real=secret", "eu-test-1"
MIN_PART = 5 << 20


@dataclass(frozen=True)
class Fault:
    """What to do to the first request of `method` whose target matches `target`."""

    method: str
    target: str = ""
    status: int = 0
    code: str = ""
    retry_after: str = ""
    reset: Literal["", "early", "middle", "after"] = (
        ""  # before the body, inside it, or with the work done and no answer sent
    )


@dataclass
class Upload:
    target: str
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class ObjectStore:
    """What the server holds and what it saw."""

    signed: bool = True
    basic: str = ""
    faults: list[Fault] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    seen: list[tuple[str, str, int]] = field(default_factory=list)  # method, target, status (0: none sent)
    capacity: int = 1 << 40
    url: str = ""
    on_request: Callable[[str, str], None] = lambda _method, _target: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, method: str, target: str) -> Fault | None:
        with self.lock:
            for known in self.faults:
                if known.method == method and re.search(known.target, target):
                    self.faults.remove(known)
                    return known
        return None


@contextlib.contextmanager
def object_server(store: ObjectStore, certificate: Path | None = None) -> Iterator[ObjectStore]:
    class Handler(_Handler):
        held = store

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    store.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    held: ObjectStore

    def log_message(self, *args: object) -> None: ...

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that hangs up, or does not like our certificate
            super().handle()

    def do_PUT(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_HEAD = do_PUT  # noqa: N815  # names of the standard library

    def _serve(self) -> None:
        store = self.held
        store.on_request(self.command, self.path)
        fault = store.fault(self.command, self.path)
        if fault is not None and fault.reset in ("early", "middle"):
            self.rfile.read(100_000 if fault.reset == "middle" else 0)
            self._reset()
            return
        body = self._body()
        status, document, headers = self._outcome(fault, body)
        if fault is not None and fault.reset == "after":
            self._reset()
        else:
            self._answer(status, document, headers)

    def _outcome(self, fault: Fault | None, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if fault is not None and fault.status:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return fault.status, _error(fault.code or "Injected"), headers
        refused = self._refused(body)
        if refused:
            return 403, _error(refused), {}
        if (md5 := self.headers["content-md5"]) and base64.b64decode(md5) != hashlib.md5(body).digest():
            return 400, _error("BadDigest"), {}
        return self._act(body)

    def _reset(self) -> None:
        self.held.seen.append((self.command, self.path, 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)

    def _body(self) -> bytes:
        if self.headers["transfer-encoding"] == "chunked":
            body = bytearray()
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(body)
        return self.rfile.read(int(self.headers["content-length"] or 0))

    def _refused(self, body: bytes) -> str:
        """The S3 error code, empty when the request may be served."""
        if not self.held.signed:
            expected = "Basic " + base64.b64encode(self.held.basic.encode()).decode()
            return "" if not self.held.basic or self.headers["authorization"] == expected else "AccessDenied"
        return signature_fault(self.command, self.held.url + self.path, dict(self.headers), body)

    def _act(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        store, parts = self.held, urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        target = parts.path
        with store.lock:
            if sum(map(len, store.objects.values())) + len(body) > store.capacity:
                return 507, _error("XMinioStorageFull"), {}
            match self.command:
                case "POST" if "uploads" in query:
                    name = uuid.uuid4().hex
                    store.uploads[name] = Upload(target, self.headers["content-type"])
                    return 200, f"<R><UploadId>{name}</UploadId></R>".encode(), {}
                case "PUT" if "partNumber" in query:
                    if query["uploadId"] not in store.uploads:
                        return 404, _error("NoSuchUpload"), {}
                    store.uploads[query["uploadId"]].parts[int(query["partNumber"])] = body
                    return 200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}
                case "POST":
                    return self._complete(store, query["uploadId"], body)
                case "DELETE" if "uploadId" in query:
                    return (204 if store.uploads.pop(query["uploadId"], None) else 404), b"", {}
                case "PUT":
                    store.objects[target], store.types[target] = body, self.headers["content-type"]
                    return (200 if store.signed else 201), b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}
                case "HEAD" if target in store.objects:
                    return 200, b"", {"Content-Length": str(len(store.objects[target]))}
                case "DELETE":
                    store.objects.pop(target, None)
                    return 204, b"", {}
        return 404, b"", {}

    def _complete(self, store: ObjectStore, name: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        upload = store.uploads.get(name)
        if upload is None:
            return 404, _error("NoSuchUpload"), {}
        asked = re.findall(rb"<PartNumber>(\d+)</PartNumber><ETag>([^<]+)</ETag>", body)
        stored = [
            (str(n).encode(), f'"{hashlib.md5(p).hexdigest()}"'.encode()) for n, p in sorted(upload.parts.items())
        ]
        if [(n, tag.replace(b"&quot;", b'"')) for n, tag in asked] != stored:
            return 400, _error("InvalidPart"), {}
        pieces = [part for _, part in sorted(upload.parts.items())]
        if any(len(part) < MIN_PART for part in pieces[:-1]):
            return 400, _error("EntityTooSmall"), {}
        store.objects[upload.target], store.types[upload.target] = b"".join(pieces), upload.content_type
        del store.uploads[name]
        return 200, b"<CompleteMultipartUploadResult/>", {}

    def _answer(self, status: int, document: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.held.seen.append((self.command, self.path, status))
        self.send_response(status)
        sent = {"Content-Length": str(len(document))} | (headers or {})
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(document)


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>said by the test</Message></Error>".encode()


def signature_fault(method: str, url: str, headers: dict[str, str], body: bytes) -> str:
    """Signs the request again with botocore, which shares no code with us, and compares."""
    lower = {name.lower(): value for name, value in headers.items()}
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        lower.get("authorization", ""),
    )
    if given is None or given[1] != KEY or given[3] != REGION:
        return "AuthorizationHeaderMalformed"
    payload = lower["x-amz-content-sha256"]
    if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(body).hexdigest():
        return "XAmzContentSHA256Mismatch"
    if payload == "UNSIGNED-PAYLOAD" and not url.startswith("https"):
        return "UnsignedPayloadWithoutTls"
    names = given[4].split(";")
    if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names):
        return "SignedHeadersMissing"
    if re.fullmatch(r"\d{8}T\d{6}Z", lower["x-amz-date"]) is None:
        return "AccessDenied"
    if abs(time.time() - calendar.timegm(time.strptime(lower["x-amz-date"], "%Y%m%dT%H%M%SZ"))) > 900:
        return "RequestTimeTooSkewed"
    request = AWSRequest(method, url, headers={n: lower[n] for n in names if n != "host"}, data=body)
    request.context["timestamp"] = lower["x-amz-date"]
    signer = S3SigV4Auth(Credentials(KEY, SECRET), "s3", REGION)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    return "" if expected == given[5] else "SignatureDoesNotMatch"
