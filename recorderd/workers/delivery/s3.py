"""Delivery into an S3 bucket: one PUT for what fits into one part, a multipart upload for the rest.

A part is held in memory until its PUT is acknowledged and is sent again after a failure, so an interruption costs one part; every part goes
with its MD5, which the storage checks. The object appears as a whole when the upload is completed. A delivery that is given up or fails
aborts its upload; one that is killed leaves parts that no one sees, for the bucket's rule on incomplete uploads (AWS:
AbortIncompleteMultipartUpload) to remove.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape, unescape

from recorderd.protocol.delivery import Deliver, Problem
from recorderd.workers.delivery.failure import Failure, from_status
from recorderd.workers.delivery.http import Answer, Connection
from recorderd.workers.delivery.incoming import Incoming
from recorderd.workers.delivery.patience import Patience
from recorderd.workers.delivery.sigv4 import UNSIGNED, escaped_path, query_string, signed_headers

MIN_PART_BYTES = 5 << 20
MAX_PARTS = 10_000
_TEXT = r"<{0}>([^<]{{1,1024}})</{0}>"


def deliver(work: Deliver, incoming: Incoming) -> int:
    """Returns the bytes acknowledged. Raises Failure."""
    bucket = Bucket(work, incoming)
    parts = _parts(incoming.pieces(), max(work.part_bytes, MIN_PART_BYTES))
    try:
        first, whole = next(parts)
        if whole:
            bucket.put(first)
            if work.trial:
                bucket.remove()
            return len(first)
        return _multipart(bucket, incoming, first, parts)
    finally:
        bucket.close()


def _multipart(bucket: Bucket, incoming: Incoming, first: memoryview, parts: Iterator[tuple[memoryview, bool]]) -> int:
    upload = bucket.begin()
    try:
        tags = [bucket.put(first, [("partNumber", "1"), ("uploadId", upload)])]
        delivered = len(first)
        incoming.report(delivered)
        for part, _ in parts:
            if len(tags) == MAX_PARTS:
                raise Failure(Problem.REFUSED, f"the file is longer than {MAX_PARTS} parts")
            tags.append(bucket.put(part, [("partNumber", str(len(tags) + 1)), ("uploadId", upload)]))
            delivered += len(part)
            incoming.report(delivered)
        bucket.complete(upload, tags)
    except BaseException:
        with contextlib.suppress(Failure):
            bucket.abort(upload)
        raise
    return delivered


def _parts(pieces: Iterator[bytes], part_bytes: int) -> Iterator[tuple[memoryview, bool]]:
    """Parts of exactly that size, with whether the file ends with it; the last may be shorter. All are in one buffer: a part lasts until
    the next is asked for."""
    buffer = memoryview(bytearray(part_bytes))
    used = 0
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            if used == part_bytes:
                yield buffer, False
                used = 0
            count = min(len(rest), part_bytes - used)
            buffer[used : used + count] = rest[:count]
            used += count
            rest = rest[count:]
    yield buffer[:used], True


class Bucket:
    """Signed requests for one object, each tried until patience ends. All methods raise Failure."""

    def __init__(
        self,
        work: Deliver,
        incoming: Incoming,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._work = work
        self._now = now
        self._patience = Patience(work.patience_s, incoming.pause)
        self._connection = Connection(
            work.root, certificate=work.certificate, ca_file=work.ca_file, watch=incoming.watch
        )
        self._path = f"{self._connection.path}/{escaped_path(work.name)}"

    def put(self, body: memoryview, query: Sequence[tuple[str, str]] = ()) -> str:
        """The ETag of the object or part."""
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        headers = {"content-md5": base64.b64encode(md5).decode()}
        if not query:
            headers["content-type"] = self._work.content_type
        answer = self._send("PUT", query, headers, body)
        return answer.headers.get("etag", "")

    def begin(self) -> str:
        answer = self._send("POST", [("uploads", "")], {"content-type": self._work.content_type})
        upload = _text(answer, "UploadId")
        if not upload:
            raise Failure(Problem.REFUSED, "it began an upload without naming it")
        return upload

    def complete(self, upload: str, tags: Sequence[str]) -> None:
        """An answer of 200 may still hold an error (AWS, CompleteMultipartUpload), and one that was lost may have been acted on."""
        listed = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(tag)}</ETag></Part>" for n, tag in enumerate(tags, 1)
        )
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                answer = self._once("POST", [("uploadId", upload)], {"content-type": "application/xml"}, document)
                if code := _text(answer, "Code"):
                    raise from_status(500, code, _text(answer, "Message"))
            except Failure as failure:
                if lost and failure.problem is Problem.ABSENT and self._exists():
                    return
                lost = True
                raise

        self._patience.until_done(attempt)

    def _exists(self) -> bool:
        return self._once("HEAD", [], {}).status == 200

    def abort(self, upload: str) -> None:
        """Tried once, also when the daemon has hung up."""
        self._connection.watch = lambda: None
        self._once("DELETE", [("uploadId", upload)], {})

    def remove(self) -> None:
        self._send("DELETE", [], {})

    def close(self) -> None:
        self._connection.close()

    def _send(
        self, method: str, query: Sequence[tuple[str, str]], headers: dict[str, str], body: bytes | memoryview = b""
    ) -> Answer:
        return self._patience.until_done(lambda: self._once(method, query, headers, body))

    def _once(
        self, method: str, query: Sequence[tuple[str, str]], headers: dict[str, str], body: bytes | memoryview = b""
    ) -> Answer:
        connection = self._connection
        asked = query_string(query)
        signed = signed_headers(
            method, connection.host, self._path, asked, headers,
            payload_hash=UNSIGNED if connection.secure else hashlib.sha256(body).hexdigest(),
            region=self._work.region or "us-east-1", access=self._work.access, now=self._now(),
        )  # fmt: skip
        answer = connection.request(method, f"{self._path}?{asked}" if asked else self._path, signed, body)
        if answer.status >= 300:
            retry_after = answer.headers.get("retry-after", "")
            raise from_status(answer.status, _text(answer, "Code"), _text(answer, "Message"), retry_after)
        return answer


def _text(answer: Answer, element: str) -> str:
    """The text of the first such element. A pattern and not a parser: what comes from outside is looked at for three words only."""
    found = re.search(_TEXT.format(element), answer.body.decode("utf-8", "replace"))
    return unescape(found[1], {"&quot;": '"'}).strip() if found else ""
