"""The unit files: understood by systemd, sandboxed, without the capability that would undo the sandbox."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = sorted(path.name for kind in ("service", "socket", "timer") for path in (ROOT / "systemd").glob(f"*.{kind}"))
SERVICES = [name for name in UNITS if name.endswith(".service")]
EXPOSURE_AT_MOST = {"recorderd.service": 2.0}

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An install tree with the host's targets and slices, and something executable under every ExecStart."""
    tree = tmp_path_factory.mktemp("install")
    subprocess.run(["make", "-s", "-C", str(ROOT), "install", f"DESTDIR={tree}"], check=True, timeout=60)
    units = tree / "usr/lib/systemd/system"
    for pattern in ("*.target", "*.slice"):
        for unit in Path("/usr/lib/systemd/system").glob(pattern):
            shutil.copy(unit, units)
    for name in SERVICES:
        for command in re.findall(r"^Exec\w+=[-+!@:]*(\S+)", (units / name).read_text(), re.MULTILINE):
            program = tree / command.lstrip("/")
            program.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy("/bin/true", program)
    return tree


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(tree: Path, name: str) -> None:
    # The exit code is 0 for unknown keys as well: what counts is that nothing is said.
    command = ["systemd-analyze", "verify", "--man=no", f"--root={tree}", str(tree / "usr/lib/systemd/system" / name)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (out.returncode, out.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(EXPOSURE_AT_MOST))
def test_exposure(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(ROOT / "systemd" / name)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", out.stdout)
    assert match is not None
    assert float(match[1]) <= EXPOSURE_AT_MOST[name]


def test_the_daemon_never_has_cap_sys_admin() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--json=short", str(ROOT / "systemd/recorderd.service")]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    admin = [row for row in rows if "CAP_SYS_ADMIN" in row["name"]]
    assert admin
    assert all(row["set"] for row in admin)


def test_a_broken_configuration_is_not_restarted() -> None:
    assert "RestartPreventExitStatus=78" in (ROOT / "systemd/recorderd.service").read_text()
