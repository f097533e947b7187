"""Tests run again under a User-mode Linux kernel, which has what many hosts have not: CUSE, 802.1Q, VLAN filtering in bridges."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INIT = Path(__file__).with_name("user_mode_linux.sh")
UML = shutil.which("linux.uml")
needs_user_mode_linux = pytest.mark.skipif(
    UML is None or os.geteuid() != 0, reason="needs root and the package user-mode-linux"
)


def run(stage: Path, tests: str, *, before: str = "") -> str:
    """Boots this machine's root read-only, runs `before` (shell) and the tests, halts; what all of it said."""
    job = stage / "job"
    options = "-q -x --color=no -p no:cacheprovider --basetemp=/tmp/uml -rs"
    job.write_text(f"{before}\n{sys.executable} -m pytest {options} {tests}\n")
    command = [
        str(UML), "mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "con0=fd:0,fd:1", "con=null",
        "ssl=null", "loglevel=3", f"uml_dir={stage}/", f"UML_FOLDER={ROOT}", f"UML_JOB={job}", f"init={INIT}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL, check=False)
    return done.stdout
