"""Delivery by one HTTP PUT (RFC 9110, 9.3.4), chunked because the length is known only at the end.

A request that breaks off leaves nothing with servers that store whole bodies only, and cannot be taken up again: while only the first piece
is on its way it is tried again here, after that the daemon has to send the whole file anew.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from recorderd.protocol.delivery import Deliver, Problem
from recorderd.workers.delivery.failure import Failure, from_status
from recorderd.workers.delivery.http import Answer, Connection
from recorderd.workers.delivery.incoming import Incoming
from recorderd.workers.delivery.patience import Patience
from recorderd.workers.delivery.sigv4 import escaped_path


def deliver(work: Deliver, incoming: Incoming) -> int:
    """Returns the bytes acknowledged. Raises Failure."""
    connection = Connection(work.root, certificate=work.certificate, ca_file=work.ca_file, watch=incoming.watch)
    target = f"{connection.path}/{escaped_path(work.name)}"
    headers = _authorization(work)
    pieces = incoming.pieces()
    first = next(pieces, b"")

    def body() -> Iterator[bytes]:
        yield first
        sent = len(first)
        for piece in pieces:
            yield piece
            sent += len(piece)
            incoming.report(sent)

    def put() -> Failure | None:
        """None when it is stored; a failure after which the file cannot go on from here."""
        try:
            answer = connection.request("PUT", target, headers | {"content-type": work.content_type}, body())
            _check(answer, (200, 201, 204))
        except Failure as failure:
            if incoming.bytes > len(first):
                return failure
            raise
        return None

    try:
        broken = Patience(work.patience_s, incoming.pause).until_done(put)
        if broken is not None:
            raise broken
        _compare_length(connection.request("HEAD", target, headers), incoming.bytes)
        if work.trial:
            _check(connection.request("DELETE", target, headers), (200, 202, 204, 404, 405, 501))
        return incoming.bytes
    finally:
        connection.close()


def _authorization(work: Deliver) -> dict[str, str]:
    """Basic (RFC 7617). Over TLS only, which the rules for destinations see to; looked at again where it would leave."""
    if not work.access.username:
        return {}
    if not work.root.startswith("https://"):
        raise Failure(Problem.DENIED, "a password is sent over TLS only")
    pair = f"{work.access.username}:{work.access.password}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _check(answer: Answer, good: tuple[int, ...]) -> None:
    if answer.status not in good:
        raise from_status(answer.status, retry_after=answer.headers.get("retry-after", ""))


def _compare_length(answer: Answer, sent: int) -> None:
    """What the server says it holds, where it says it: many that take PUT answer no HEAD."""
    held = answer.headers.get("content-length", "")
    if answer.status == 200 and held.isascii() and held.isdigit() and int(held[:19]) != sent:
        raise Failure(Problem.PASSING, f"it holds {held} of {sent} bytes")
