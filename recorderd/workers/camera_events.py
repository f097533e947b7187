"""The worker that reads cameras' event documents: kind, length and document in, a length-prefixed JSON answer out, until the end.

Started by `recorderd.events.reader`. It enters its sandbox before it reads the first byte; a document that breaks a parser can end this
process and nothing else.
"""

from __future__ import annotations

import os
import sys

import msgspec

from recorderd.events.camera_json import parse_message
from recorderd.events.camera_xml import read_document
from recorderd.events.notification import MAX_DOCUMENT_BYTES, Answer, BadDocument, Kind
from recorderd.events.reader import HEAD, LENGTH
from recorderd.workers import sandbox

MEMORY_BYTES = 1 << 30  # of address space, most of it shared libraries
CPU_S = 24 * 3600


def read_exactly(count: int) -> bytes | None:
    """From standard input; None at its end."""
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            return None
        data += part
    return data


def answer(kind: Kind, document: bytes) -> Answer:
    try:
        return parse_message(document) if kind is Kind.JSON else read_document(document)
    except BadDocument as error:
        return Answer(error=str(error)[:200])


def main() -> int:
    encoder = msgspec.json.Encoder()
    answer(Kind.XML, b'<a xmlns="urn:x"><NotificationMessage/></a>')  # everything is imported before the cage closes
    answer(Kind.JSON, b'{"method":"events:notify","params":{"notification":{"topic":"a"}}}')
    encoder.encode(answer(Kind.XML, b"<"))
    encoder.encode(answer(Kind.JSON, b"["))
    sandbox.enter(memory_bytes=MEMORY_BYTES, cpu_s=CPU_S)
    while (head := read_exactly(HEAD.size)) is not None:
        letter, length = HEAD.unpack(head)
        if length > MAX_DOCUMENT_BYTES:
            return 1
        document = read_exactly(length)
        if document is None:
            return 1
        body = encoder.encode(answer(Kind(letter.decode()), document))
        out = LENGTH.pack(len(body)) + body
        while out:
            out = out[os.write(1, out) :]
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
