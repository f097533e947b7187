"""Certificates as text: PEM (RFC 7468), read strictly and held to bounds. What is in them is `device_tls.py`'s to judge."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

MAX_CERTIFICATES = 16  # of one device
MAX_TEXT_BYTES = 16 << 10  # of all of them; eight authorities with RSA keys of 4096 bits
MAX_FILE_BYTES = 64 << 10  # with what people write between the certificates

_BOUNDARY = re.compile(r"^-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----[ \t]*$", re.MULTILINE)
_LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")  # the last has OpenSSL's own appendix
_PLAIN = "CERTIFICATE"


class BadCertificate(ValueError):
    """The text holds no certificate that can be used; the message says why, in one line and without the text."""


def certificates_in(text: str) -> tuple[str, ...]:
    """The certificates of a PEM file, each as text of its own; what stands outside them is left out (RFC 7468, 5.2).

    Raises `BadCertificate`.
    """
    if len(text) > MAX_FILE_BYTES:
        raise BadCertificate(f"more than {MAX_FILE_BYTES >> 10} KiB")
    found: list[str] = []
    start: re.Match[str] | None = None
    for boundary in _BOUNDARY.finditer(text.replace("\r\n", "\n")):
        if boundary[1] == "BEGIN":
            if "PRIVATE KEY" in boundary[2]:
                raise BadCertificate("a private key is among the certificates; it belongs to nobody but its owner")
            if start is not None or boundary[2] != _PLAIN:
                raise BadCertificate(_not_plain(boundary[2], nested=start is not None))
            start = boundary
        else:
            if start is None or boundary[2] != start[2]:
                raise BadCertificate(f"an END {boundary[2]} without its BEGIN")
            found.append(as_text(_decoded(boundary.string[start.end() : boundary.start()])))
            start = None
    if start is not None:
        raise BadCertificate("the last certificate has no end")
    if not found:
        raise BadCertificate("no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    return tuple(found)


def _not_plain(label: str, *, nested: bool) -> str:
    if nested:
        return f"a BEGIN {label} within a certificate"
    if label in _LABELS:
        return f"a {label}, which is a form of its own; convert it to a plain CERTIFICATE"
    return f"a {label} where a CERTIFICATE is expected"


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadCertificate("a certificate is not base64") from None


def as_text(der: bytes) -> str:
    """One certificate in PEM, lines of 64 characters."""
    coded = base64.b64encode(der).decode("ascii")
    lines = [coded[i : i + 64] for i in range(0, len(coded), 64)]
    return "\n".join((f"-----BEGIN {_PLAIN}-----", *lines, f"-----END {_PLAIN}-----", ""))


def der_of(certificate: str) -> bytes:
    """The bytes of the one certificate in the text. Raises `BadCertificate`."""
    found = certificates_in(certificate)
    if len(found) != 1:
        raise BadCertificate("several certificates where one is expected")
    return _decoded("".join(found[0].splitlines()[1:-1]))


def fingerprint(certificate: str) -> str:
    """`sha256:` and the digest that `openssl x509 -fingerprint -sha256` shows, in lower case without colons."""
    return "sha256:" + hashlib.sha256(der_of(certificate)).hexdigest()
