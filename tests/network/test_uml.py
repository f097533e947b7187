"""The VLAN tests under a kernel that has VLANs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import user_mode_linux

pytestmark = [pytest.mark.uml, user_mode_linux.needs_user_mode_linux]


def test_vlans_in_user_mode_linux(tmp_path: Path) -> None:
    said = user_mode_linux.run(tmp_path, "tests/network/test_vlan.py")
    assert "2 passed, 2 skipped" in said, said[-4000:]
    assert said.count("needs a kernel without VLANs") == 1
