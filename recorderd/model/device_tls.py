"""TLS to a device: who may vouch for it, and what may be said to it. One rule for its media and for its events.

A device's own authorities stand *in place of* the system's: who names the authority of his cameras does not want any of a hundred public
ones to vouch for them as well. Each is an anchor by itself, so it may be an authority, one below another, or the camera's own certificate.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence

from recorderd.model.device import CertificateCheck, CertificateValidation
from recorderd.model.pem import BadCertificate, der_of


def may_send_basic(*, allowed: bool, encrypted: bool, certificates: CertificateCheck) -> bool:
    """Whether Basic authentication, which hands over the password, may answer a device. Encryption alone protects nothing: without a
    checked certificate *and* name anyone may be at the other end."""
    return allowed or (encrypted and certificates.validation is CertificateValidation.STANDARD)


@functools.lru_cache(maxsize=256)  # four for each device of `model.limits`
def context_for(certificates: CertificateCheck) -> ssl.SSLContext:
    """TLS 1.2 and later. `OFF`: any certificate, for cameras with self-signed ones on a LAN of their own; `LIMITED`: an authority's,
    whatever name is in it (cameras' certificates seldom name the address they have); `STANDARD`: this host's. Raises `BadCertificate`.

    Kept: reading the system's authorities takes a good part of the loop's budget, and a camera may be tried every second. Those that are
    added to the system count from the next start on, those of a device at once.
    """
    checks = certificates.validation is not CertificateValidation.OFF
    if checks and certificates.authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, certificates.authorities)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # Python 3.13 sets it: cameras' certificates are seldom that well made
    context.check_hostname = certificates.validation is CertificateValidation.STANDARD
    if not checks:
        context.verify_mode = ssl.CERT_NONE
    return context


def load_authorities(context: ssl.SSLContext, authorities: Sequence[str]) -> None:
    """Raises `BadCertificate` for what is no X.509 certificate."""
    for authority in authorities:
        der = der_of(authority)
        if not _is_one_sequence(der):
            raise BadCertificate("a certificate is not X.509, or has more behind it")
        try:
            context.load_verify_locations(cadata=der)
        except ssl.SSLError:
            raise BadCertificate("a certificate is not X.509, or damaged") from None


def _is_one_sequence(der: bytes) -> bool:
    """Whether the bytes are one DER sequence and no more (X.690, 8.1); `ssl` would overlook what comes behind a certificate."""
    if len(der) < 2 or der[0] != 0x30:
        return False
    octets = der[1] & 0x7F if der[1] & 0x80 else 0
    length = int.from_bytes(der[2 : 2 + octets], "big") if octets else der[1]
    return 2 + octets + length == len(der)
