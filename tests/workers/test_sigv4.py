"""Our signatures against botocore's, over paths and queries that need escaping."""

from __future__ import annotations

import datetime
import hashlib
from urllib.parse import unquote

import pytest

from recorderd.protocol.delivery import Access
from recorderd.workers.delivery.sigv4 import UNSIGNED, escaped_path, query_string, signed_headers
from tests.peers.object_server import KEY, REGION, SECRET, signature_fault


@pytest.mark.parametrize("path", ["/b/a.mp4", "/b/site 2/Tür+1/08-23.547Z.0.mp4", "/b/~a_b-c.d/%41/ü", "/"])
@pytest.mark.parametrize("query", [[], [("uploads", "")], [("uploadId", "a/b+c=="), ("partNumber", "12")]])
@pytest.mark.parametrize("secure", [True, False])
def test_botocore_agrees(path: str, query: list[tuple[str, str]], secure: bool) -> None:
    body = b"body"
    sent, asked = escaped_path(path), query_string(query)
    headers = signed_headers(
        "PUT", "h.example:9000", sent, asked, {"Content-Type": "video/mp4;  codecs=x", "content-md5": "A=="},
        payload_hash=UNSIGNED if secure else hashlib.sha256(body).hexdigest(),
        region=REGION, access=Access(KEY, SECRET), now=datetime.datetime.now(datetime.UTC),
    )  # fmt: skip
    url = f"{'https' if secure else 'http'}://h.example:9000{sent}" + (f"?{asked}" if asked else "")
    assert signature_fault("PUT", url, headers, body) == ""
    assert unquote(sent) == path
    for name in ("content-type", "x-amz-date", "x-amz-content-sha256"):
        changed = dict(headers) | {name: headers[name].replace("4", "5").replace("2", "1") + "0"}
        assert signature_fault("PUT", url, changed, body) != "", "the check can fail"
    assert signature_fault("POST", url, headers, body) == "SignatureDoesNotMatch"


def test_amazons_own_example() -> None:
    """PUT Object of "Authenticating Requests (AWS Signature Version 4)", with its published key, date and signature."""
    body = b"Welcome to Amazon S3."
    headers = signed_headers(
        "PUT", "examplebucket.s3.amazonaws.com", escaped_path("/test$file.text"), "",
        {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        payload_hash=hashlib.sha256(body).hexdigest(), region="us-east-1",
        access=Access("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        now=datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC),
    )  # fmt: skip
    assert headers["authorization"].endswith(
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


def test_a_session_token_is_signed_too() -> None:
    headers = signed_headers(
        "PUT", "h", "/a", "", {}, payload_hash=UNSIGNED, region="r", access=Access(KEY, SECRET, "session"),
        now=datetime.datetime.now(datetime.UTC),
    )  # fmt: skip
    assert headers["x-amz-security-token"] == "session"
    assert "x-amz-security-token" in headers["authorization"]


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(Access("user", "secret", "secret")) + str(Access("user", "secret"))
