"""systemd as PID 1 without a virtual machine: units of ours under a real service manager, in namespaces, over an overlay of this root.

The job is a shell script that runs as a unit when the system is up. It sees `recorderd` and `recorderctl` installed from this tree.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("pid1.sh")

_TARGET = "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=test-job.service\nAllowIsolate=yes\n"
_JOB_UNIT = """\
[Unit]
After=basic.target systemd-journald.service
[Service]
Type=oneshot
ExecStart=/bin/bash /job/script
ExecStopPost=/bin/systemctl --no-block poweroff --force --force
StandardOutput=file:/job/out
StandardError=file:/job/err
TimeoutStartSec=infinity
"""
_LAUNCHER = """\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/recorderd/python/lib PYTHONPATH=/opt/recorderd/src:/opt/recorderd/site PYTHONDONTWRITEBYTECODE=1
exec /opt/recorderd/python/bin/{python} -m {module} "$@"
"""


@dataclass(frozen=True)
class Outcome:
    out: str
    err: str
    console: str


def why_not() -> str | None:
    """Why this machine cannot do it, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs a kernel with overlayfs"
    if "cgroup2" not in Path("/proc/mounts").read_text():
        return "needs a kernel with a mounted cgroup2 tree"
    return None


def run(stage: Path, job: str, files: dict[str, str] | None = None, timeout_s: float = 90) -> Outcome:
    """Boots, runs `job`, powers off. `files` are further files of the root, by absolute path."""
    tree, shared = stage / "tree", stage / "job"
    shared.mkdir(parents=True)
    subprocess.run(["make", "-s", "-C", str(ROOT), "install", f"DESTDIR={tree}"], check=True, timeout=60)
    units = tree / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "test-job.target").write_text(_TARGET)
    (units / "test-job.service").write_text(_JOB_UNIT)
    python = Path(os.path.realpath(sys.executable)).name
    for name, module in (("recorderd", "recorderd"), ("recorderctl", "recorderd.ctl.main")):
        launcher = tree / "usr/bin" / name
        launcher.parent.mkdir(parents=True, exist_ok=True)
        launcher.write_text(_LAUNCHER.format(python=python, module=module))
        launcher.chmod(0o755)
    for path, text in (files or {}).items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    source = shared / "src"
    for package in ("recorderd", "hw"):
        shutil.copytree(ROOT / package, source / package)  # compiled, as it would be where it is installed
    (stage / "binds").write_text(
        f"{source} /opt/recorderd/src\n{sysconfig.get_path('purelib')} /opt/recorderd/site\n{sys.base_prefix} /opt/recorderd/python\n"
    )
    (shared / "script").write_text(job)
    said = _to_the_end([str(SCRIPT), str(stage)], timeout_s)

    def read(name: str) -> str:
        path = shared / name
        return path.read_text(errors="replace") if path.exists() else ""

    return Outcome(read("out"), read("err"), f"{said}{read('console')}")


def _to_the_end(command: list[str], timeout_s: float) -> str:
    """What it says. When it takes too long the whole of it is ended: `unshare` ends its child with itself."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            return process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{process.communicate()[0]}\nended after {timeout_s:.0f} s\n"
        finally:
            if process.poll() is None:  # somebody pressed Ctrl-C
                os.killpg(process.pid, signal.SIGKILL)
