"""AWS Signature Version 4 for S3 (AWS, "Authenticating Requests: Using the Authorization Header").

Pure: what is to be sent in, the headers to send out. The tests compare it with botocore's signer.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from recorderd.protocol.delivery import Access

UNSIGNED = "UNSIGNED-PAYLOAD"  # only over TLS, which protects the payload already
_ALGORITHM = "AWS4-HMAC-SHA256"


def escaped_path(path: str) -> str:
    """A path as it is sent and signed: once percent-encoded, slashes kept."""
    return quote(path, safe="/-_.~")


def query_string(parameters: Sequence[tuple[str, str]]) -> str:
    """Sorted and percent-encoded, as it is sent and signed."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(parameters))


def signed_headers(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    payload_hash: str,
    region: str,
    access: Access,
    now: datetime.datetime,
) -> dict[str, str]:
    """`headers` with what the signature adds. `path` and `query` are as they are sent; `payload_hash` is the hexadecimal SHA-256 of the
    body, or `UNSIGNED`; `now` is UTC."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    sent = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    sent |= {"host": host, "x-amz-content-sha256": payload_hash, "x-amz-date": moment}
    if access.token:
        sent["x-amz-security-token"] = access.token
    names = ";".join(sorted(sent))
    request = "\n".join(
        [method, path, query, *(f"{name}:{sent[name]}" for name in sorted(sent)), "", names, payload_hash]
    )
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{access.password}".encode()
    for word in (moment[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    sent["authorization"] = (
        f"{_ALGORITHM} Credential={access.username}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent
