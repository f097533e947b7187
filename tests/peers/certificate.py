"""Throw-away certificates for peers that speak TLS on loopback, made by the openssl program: self-signed, or of an authority."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is absent")


_NEW = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Authority:
    """`pem`: its certificate, in a file that clients may be given."""

    pem: Path
    key: Path

    @property
    def text(self) -> str:
        return self.pem.read_text()

    def issue(self, name: str = "127.0.0.1") -> Path:
        """A certificate for `name` with its key, in one PEM file."""
        folder = self.pem.parent
        key, certificate, both = (folder / f"{self.pem.stem}-{name}-{part}.pem" for part in ("key", "alone", "both"))
        _openssl(
            *_NEW,
            *("-CA", str(self.pem), "-CAkey", str(self.key), "-keyout", str(key), "-out", str(certificate)),
            *("-subj", f"/CN={name}", "-addext", _names(name), "-addext", "basicConstraints=critical,CA:FALSE"),
        )
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        return both


def make_authority(folder: Path, name: str, *, padding: int = 0) -> Authority:
    """`padding`: how many characters of comment its certificate carries."""
    made = Authority(folder / f"{name}.pem", folder / f"{name}-key.pem")
    comment = ("-addext", f"nsComment={'x' * padding}") if padding else ()
    _openssl(*_NEW, *("-keyout", str(made.key), "-out", str(made.pem), "-subj", f"/CN={name}"), *comment)
    return made


def make_certificate(folder: Path, *, name: str = "127.0.0.1") -> Path:
    """A self-signed certificate for `name` (an IP address or a host) with its key, in one PEM file in `folder`."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    _openssl(*_NEW, *("-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={name}", "-addext", _names(name)))
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


def _names(name: str) -> str:
    return f"subjectAltName={'IP' if name.replace('.', '').isdigit() else 'DNS'}:{name}"


def _openssl(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
