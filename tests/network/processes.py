"""Units as plain processes: what `ExecStart=` in our unit files says, with the installed paths replaced by the test's."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from recorderd.network.units import UnitFailed

SYSTEMD = Path(__file__).parents[2] / "systemd"


class ProcessUnits:
    """`only`: the units that are really run; others are remembered as started. `instead`: words of their command lines that are replaced,
    so that nobody waits for a time that a unit names."""

    def __init__(self, folder: Path, *, only: frozenset[str], instead: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.instead = dict(instead or {})
        self.only = only
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.started: set[str] = set()
        self.paths = {
            "/var/lib/recorderd/network": folder / "network",
            "/var/lib/recorderd-chrony": folder / "chrony-state",
            "/run/recorderd-dnsmasq": folder / "run-dnsmasq",
            "/run/recorderd-dhcp": folder / "run-dhcp",
            "/run/recorderd-chrony": folder / "run-chrony",
            "/run/recorderd": folder / "run",
            "/usr/lib/recorderd": SYSTEMD,
        }
        for path in self.paths.values():
            if path.name.startswith(("run", "chrony-state")):
                path.mkdir(exist_ok=True, mode=0o750)
        (folder / "run/chrony.d").mkdir(exist_ok=True)

    def here(self, text: str) -> str:
        for installed, path in self.paths.items():
            text = text.replace(installed, str(path))
        return text

    async def start(self, unit: str) -> None:
        self._start(unit)

    async def stop(self, unit: str) -> None:
        self._stop(unit)

    async def restart(self, unit: str) -> None:
        self._stop(unit)
        self._start(unit)

    async def active(self, unit: str) -> bool:
        process = self.processes.get(unit)
        return process.poll() is None if process else unit in self.started

    def _start(self, unit: str) -> None:
        self.started.add(unit)
        if unit not in self.only or unit in self.processes:
            return
        text = (SYSTEMD / unit).read_text()
        environment = dict(os.environ)
        for name in re.findall(r"^EnvironmentFile=(\S+)$", text, re.MULTILINE):
            environment |= dict(line.split("=", 1) for line in Path(self.here(name)).read_text().splitlines())
        environment |= {
            "RECORDERD_NETWORK": str(self.folder / "network"),
            "RECORDERD_DHCP": str(self.folder / "run-dhcp"),
        }
        for name in ("dnsmasq.conf", "chrony.conf"):  # files of the generation name installed paths
            self._replace_paths(self.folder / "network/active" / name)
        match = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
        assert match is not None
        line = re.sub(r"\$\{(\w+)\}", lambda m: environment[m[1]], self.here(match[1]))
        for words, others in self.instead.items():
            assert words in line, f"{unit} no longer says {words}"
            line = line.replace(words, others)
        if unit == "recorderd-chrony.service":
            line += " -x"  # never this machine's clock
        line = line.replace("--user=nobody", "--user=root")  # the test's folder is root's alone
        log = (self.folder / f"{unit}.log").open("wb")
        self.processes[unit] = subprocess.Popen(shlex.split(line), env=environment, stdout=log, stderr=log)
        log.close()

    def _replace_paths(self, made: Path) -> None:
        """In one step, and once: another unit may be reading the file as this one starts."""
        if not made.exists() or (text := made.read_text()) == (here := self.here(text)):
            return
        other = made.with_suffix(".here")
        other.write_text(here)
        other.replace(made)

    def _stop(self, unit: str) -> None:
        self.started.discard(unit)
        process = self.processes.pop(unit, None)
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.wait()
                raise UnitFailed(f"{unit} does not stop") from error

    def log(self, unit: str) -> str:
        return (self.folder / f"{unit}.log").read_text(errors="replace")

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
