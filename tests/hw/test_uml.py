"""The device-node test under a kernel that has CUSE."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import user_mode_linux

pytestmark = [pytest.mark.uml, user_mode_linux.needs_user_mode_linux]


def test_i2c_device_node_in_user_mode_linux(tmp_path: Path) -> None:
    said = user_mode_linux.run(tmp_path, "tests/hw/test_cuse_i2c.py", before="modprobe -d /run/root cuse")
    assert "3 passed" in said, said[-4000:]
