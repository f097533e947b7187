"""The device-node test under a User-mode Linux kernel, which has CUSE where many hosts have not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UML = shutil.which("linux.uml")

pytestmark = [
    pytest.mark.uml,
    pytest.mark.skipif(UML is None or os.geteuid() != 0, reason="needs root and the package user-mode-linux"),
]


def test_i2c_device_node_in_user_mode_linux(tmp_path: Path) -> None:
    job = tmp_path / "job"
    options = "-q -x --color=no -p no:cacheprovider --basetemp=/tmp/uml -rs"
    job.write_text(f"modprobe -d /run/root cuse; {sys.executable} -m pytest {options} tests/hw/test_cuse_i2c.py\n")
    words = [
        str(UML),
        "mem=512M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "con0=fd:0,fd:1",
        "con=null",
        "ssl=null",
        "loglevel=3",
        f"uml_dir={tmp_path}/",
        f"UML_FOLDER={ROOT}",
        f"UML_JOB={job}",
        f"init={ROOT}/tests/network/uml.sh",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL, check=False)
    assert "3 passed" in done.stdout, done.stdout[-4000:]
