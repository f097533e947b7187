"""The authorities that may vouch for a device's certificate: one PEM certificate each, held to bounds, and used at all."""

from __future__ import annotations

import ssl

from recorderd.model.device import CertificateValidation, Device
from recorderd.model.device_tls import load_authorities
from recorderd.model.faults import BadConfiguration
from recorderd.model.pem import MAX_CERTIFICATES, MAX_TEXT_BYTES, BadCertificate, as_text, der_of

_ARGUMENT = "ca_certificates"


def checked(given: tuple[str, ...]) -> tuple[str, ...]:
    """The certificates as they are stored: without what stood around them, each once. Raises `BadConfiguration`."""
    if len(given) > MAX_CERTIFICATES:
        raise BadConfiguration(
            "too many CA certificates", argument=_ARGUMENT, expected=f"at most {MAX_CERTIFICATES}", got=str(len(given))
        )
    try:
        kept = tuple(dict.fromkeys(as_text(der_of(each)) for each in given))
        load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), kept)
    except BadCertificate as error:
        raise BadConfiguration(
            f"a CA certificate cannot be used: {error}",
            argument=_ARGUMENT,
            expected="X.509 certificates in PEM, one each",
        ) from None
    size = sum(map(len, kept))
    if size > MAX_TEXT_BYTES:
        raise BadConfiguration(
            "the CA certificates are too long",
            argument=_ARGUMENT,
            expected=f"at most {MAX_TEXT_BYTES} bytes",
            got=str(size),
        )
    return kept


def check_used(device: Device) -> None:
    """Authorities that nobody asks would only look like protection. Raises `BadConfiguration`."""
    if device.ca_certificates and device.certificate_validation is CertificateValidation.OFF:
        raise BadConfiguration(
            "the CA certificates would not be used: certificate_validation is off",
            argument="certificate_validation",
            expected="standard or limited where CA certificates are given",
            got="off",
        )
