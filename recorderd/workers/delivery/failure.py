"""What went wrong on the way to a destination, and whether trying again is of use."""

from __future__ import annotations

import errno
import ssl

from recorderd.protocol.delivery import Problem
from recorderd.protocol.printable import printable

_FULL_STATUS = (402, 413, 507)
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
_FULL_CODES = ("XMinioStorageFull", "QuotaExceeded", "EntityTooLarge", "StorageFull")
_PASSING_CODES = (
    "RequestTimeTooSkewed",
    "SlowDown",
    "InternalError",
    "RequestTimeout",
    "BadDigest",
    "ServiceUnavailable",
)


class Failure(Exception):
    """A delivery or one try of it failed. `after_s` is how long the destination asks us to wait, 0 if it does not say."""

    def __init__(self, problem: Problem, reason: str, *, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason
        self.after_s = after_s


def from_status(status: int, code: str = "", detail: str = "", retry_after: str = "") -> Failure:
    """From an HTTP status, and the code and message of an S3 error document where there is one."""
    said = " ".join(printable(part, 120) for part in (code, detail) if part)
    reason = f"it answered {status}" + (f": {said}" if said else "")
    if code == "RequestTimeTooSkewed":
        reason = "it refuses requests at this time of the recorder's clock (RequestTimeTooSkewed)"
    return Failure(_problem(status, code), reason, after_s=_seconds(retry_after))


def _problem(status: int, code: str) -> Problem:
    if code in _FULL_CODES or status in _FULL_STATUS:
        return Problem.FULL
    if code in _PASSING_CODES or status in _PASSING_STATUS:
        return Problem.PASSING
    if status in (401, 403):
        return Problem.DENIED
    return Problem.ABSENT if status in (404, 410) else Problem.REFUSED


def _seconds(retry_after: str) -> float:
    """Retry-After in its first form (RFC 9110, 10.2.3); the date form depends on two clocks and is not used."""
    digits = retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9
    return min(300.0, float(retry_after)) if digits else 0.0


def from_os_error(error: OSError) -> Failure:
    """From a socket or a file. TLS errors are OSErrors too."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(Problem.CERTIFICATE, f"its certificate is not accepted: {printable(error.verify_message, 120)}")
    if isinstance(error, ssl.SSLError):
        return Failure(Problem.PASSING, f"TLS failed: {printable(error.reason or 'no reason given', 120)}")
    if isinstance(error, TimeoutError):
        return Failure(Problem.PASSING, "it did not answer in time")
    words = printable(error.strerror or str(error) or type(error).__name__, 120)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure(Problem.FULL, words)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Failure(Problem.DENIED, words)
    if error.errno == errno.ENOENT:
        return Failure(Problem.ABSENT, words)
    if error.errno in (errno.EEXIST, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return Failure(Problem.REFUSED, words)
    return Failure(Problem.PASSING, words)
