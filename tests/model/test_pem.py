"""Certificates as text: what is read, what is refused, and that nothing makes it raise anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorderd.model.pem import MAX_FILE_BYTES, BadCertificate, as_text, certificates_in, der_of, fingerprint

ONE, TWO = as_text(bytes(range(100))), as_text(b"two")


def test_what_stands_around_certificates_is_left_out() -> None:
    assert certificates_in(f"CN=one\n{ONE}\n\nCN=two  \r\n{TWO}trailing words") == (ONE, TWO)
    assert certificates_in(ONE.replace("\n", "\r\n")) == (ONE,)
    assert der_of(ONE) == bytes(range(100))
    assert fingerprint(TWO).startswith("sha256:3fc4ccfe745870e2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\n", "no end"),
        (ONE.replace("END CERTIFICATE", "END X509 CRL"), "END X509 CRL without its BEGIN"),
        ("-----END CERTIFICATE-----\n" + ONE, "without its BEGIN"),
        ("-----BEGIN CERTIFICATE-----\n" + ONE, "within a certificate"),
        (ONE + "-----BEGIN EC PRIVATE KEY-----\n", "private key"),
        (ONE.replace("AAEC", "AAE=C"), "not base64"),
        (ONE.replace("AAEC", "AAE"), "not base64"),
        (ONE.replace("AAEC", "\xe4AEC"), "not base64"),
        ("x" * (MAX_FILE_BYTES + 1), "more than 64 KiB"),
    ],
)
def test_what_is_refused_and_why(text: str, said: str) -> None:
    with pytest.raises(BadCertificate, match=said) as refused:
        certificates_in(text)
    assert "AAEC" not in str(refused.value), "the text itself stays where it was"


def test_one_certificate_is_one() -> None:
    with pytest.raises(BadCertificate, match="several certificates"):
        der_of(ONE + TWO)


PIECES = st.sampled_from(
    ["-----", "BEGIN ", "END ", "CERTIFICATE", "PRIVATE KEY", "\n", "\r\n", " ", "AAEC", "=", "*", "\x00", ONE, TWO]
)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = certificates_in(text)
    except BadCertificate:
        return
    assert found
    assert certificates_in("".join(found)) == found, "what was read is read again, the same"
