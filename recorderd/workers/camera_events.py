"""The worker that reads cameras' event documents: one length-prefixed document in, one length-prefixed JSON answer out, until the end.

Started by `recorderd.events.cameras`. It enters its sandbox before it reads the first byte; a document that breaks the parser can end this
process and nothing else.
"""

from __future__ import annotations

import os
import struct
import sys

import msgspec

from recorderd.events.camera_xml import MAX_DOCUMENT_BYTES, BadDocument, parse_document
from recorderd.events.cameras import Answer
from recorderd.workers import sandbox

MEMORY_BYTES = 1 << 30  # of address space, most of it shared libraries
CPU_S = 24 * 3600
_LENGTH = struct.Struct(">I")


def read_exactly(count: int) -> bytes | None:
    """From standard input; None at its end."""
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            return None
        data += part
    return data


def answer(document: bytes) -> Answer:
    try:
        return Answer(parse_document(document))
    except BadDocument as error:
        return Answer(error=str(error)[:200])


def main() -> int:
    encoder = msgspec.json.Encoder()
    answer(b'<a xmlns="urn:x"><NotificationMessage/></a>')  # everything is imported before the cage closes
    encoder.encode(answer(b"<"))
    sandbox.enter(memory_bytes=MEMORY_BYTES, cpu_s=CPU_S)
    while (head := read_exactly(_LENGTH.size)) is not None:
        (length,) = _LENGTH.unpack(head)
        if length > MAX_DOCUMENT_BYTES:
            return 1
        document = read_exactly(length)
        if document is None:
            return 1
        body = encoder.encode(answer(document))
        out = _LENGTH.pack(len(body)) + body
        while out:
            out = out[os.write(1, out) :]
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
