"""A recorder's surroundings made of network namespaces: the recorder, an uplink host, and one camera per switch port.

The test itself enters the recorder's namespace (this thread, this process's children), so that the code under test runs as it does on a
board. Nothing of the machine's own network is touched: `Lab` refuses to go on if it finds itself outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
CLONE_NEWUTS = 0x04000000
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = itertools.count()
HOST_NAMESPACE = Path("/proc/self/ns/net").stat().st_ino


def missing() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    for tool in ("ip", "nft", "sysctl"):
        if shutil.which(tool) is None:
            return f"needs the program {tool}"
    return ""


needs_namespaces = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


def run(
    *words: str, check: bool = True, text: str | None = None, timeout: float = 20
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=check, capture_output=True, text=True, input=text, timeout=timeout)


def enter(path: str | int, kind: int) -> None:
    descriptor = path if isinstance(path, int) else os.open(path, os.O_RDONLY)
    try:
        if LIBC.setns(descriptor, kind) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        if descriptor is not path:
            os.close(descriptor)


class Lab:
    """Namespaces r (recorder: eth0, lan1..lanN), u (uplink host: eth0), c1..cN (cameras: eth0)."""

    def __init__(self, ports: int = 2) -> None:
        self.stem = f"rec{os.getpid()}x{next(NUMBERS)}"
        self.ports = [f"lan{number}" for number in range(1, ports + 1)]
        self.names = [self.stem + part for part in ("r", "u", *(f"c{number}" for number in range(1, ports + 1)))]
        self._own_net = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._own_uts = os.open("/proc/thread-self/ns/uts", os.O_RDONLY)
        self.started: list[subprocess.Popen[bytes]] = []
        assert threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Lab:
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.hardware()
        enter(f"/run/netns/{self.name('r')}", CLONE_NEWNET)
        if LIBC.unshare(CLONE_NEWUTS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        assert Path("/proc/thread-self/ns/net").stat().st_ino != HOST_NAMESPACE
        return self

    def __exit__(self, *_: object) -> None:
        enter(self._own_net, CLONE_NEWNET)
        enter(self._own_uts, CLONE_NEWUTS)
        os.close(self._own_net)
        os.close(self._own_uts)
        assert Path("/proc/thread-self/ns/net").stat().st_ino == HOST_NAMESPACE
        for process in self.started:
            process.kill()
            process.wait()
        for name in self.names:
            for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError):  # it ended by itself
                    os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "del", name, check=False)

    def name(self, part: str) -> str:
        return self.stem + part

    def hardware(self) -> None:
        """The interfaces as they are just after power-on."""
        pairs = [("eth0", "u"), *((port, f"c{number}") for number, port in enumerate(self.ports, 1))]
        for number, (ours, theirs) in enumerate(pairs):
            mac = f"02:00:00:00:00:{number:02x}"
            peer = ["peer", "name", "eth0", "netns", self.name(theirs), "address", f"02:00:00:00:01:{number:02x}"]
            run("ip", "-n", self.name("r"), "link", "add", ours, "address", mac, "type", "veth", *peer)
            run("ip", "-n", self.name(theirs), "link", "set", "eth0", "up")

    def power_cut(self) -> None:
        """The recorder's kernel forgets everything; the hardware is there again."""
        recorder = self.name("r")
        run("nft", "flush", "ruleset")
        for link in links(recorder):
            if link["ifname"] != "lo":
                run("ip", "-n", recorder, "link", "del", link["ifname"], check=False)
        self.hardware()

    def inside(
        self, part: str, *words: str, check: bool = True, timeout: float = 20
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in the namespace `part` (u, c1, ...)."""
        return run("ip", "netns", "exec", self.name(part), *words, check=check, timeout=timeout)

    def start(self, part: str, *words: str, until: str = "") -> subprocess.Popen[bytes]:
        """Starts a program there, ended with the lab; with `until`, returns once it has printed that line."""
        out = subprocess.PIPE if until else subprocess.DEVNULL
        process = subprocess.Popen(("ip", "netns", "exec", self.name(part), *words), stdout=out)
        self.started.append(process)
        if process.stdout is not None:
            with process.stdout:
                line = process.stdout.readline().decode().strip()
            assert line == until, line
        return process


def links(namespace: str | None = None) -> list[dict]:
    where = ("-n", namespace) if namespace else ()
    return json.loads(run("ip", *where, "-j", "-d", "link", "show").stdout)


def picture() -> dict:
    """The recorder's network as `ip -j` and `nft -j` tell it, without what differs from one reading to the next."""
    addresses = json.loads(run("ip", "-j", "-d", "addr", "show").stdout)
    names = {link["ifname"]: link for link in addresses}
    shown = {}
    for name, link in sorted(names.items()):
        info = link.get("linkinfo", {})
        shown[name] = {
            "mtu": link["mtu"],
            "up": "UP" in link["flags"],
            "master": link.get("master"),
            "kind": info.get("info_kind"),
            "isolated": info.get("info_slave_data", {}).get("isolated"),
            "addresses": [
                {key: a.get(key) for key in ("local", "prefixlen", "scope", "broadcast", "dynamic")}
                for a in sorted(
                    link["addr_info"], key=network
                )  # stable: which of a network is the primary stays visible
                if not a["local"].startswith("fe80:")
            ],
            "forwarding": Path(f"/proc/sys/net/ipv4/conf/{name}/forwarding").read_text().strip(),
            "disable_ipv6": Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip(),
            "accept_ra": Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra").read_text().strip(),
        }
    routes = []
    for family in ("-4", "-6"):
        found = json.loads(run("ip", family, "-j", "route", "show").stdout)
        keys = ("dst", "gateway", "dev", "metric", "protocol", "prefsrc")
        routes += [{key: route.get(key) for key in keys} for route in found if route.get("protocol") != "kernel"]
    tables = json.loads(run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    rules = [without_handles(entry) for entry in tables if "metainfo" not in entry]
    return {"links": shown, "routes": sorted(routes, key=str), "nft": rules, "host": os.uname().nodename}


def network(address: dict) -> str:
    return str(ipaddress.ip_interface(f"{address['local']}/{address['prefixlen']}").network)


def without_handles(value):
    if isinstance(value, dict):
        return {key: without_handles(part) for key, part in value.items() if key not in {"handle", "packets", "bytes"}}
    if isinstance(value, list):
        return [without_handles(part) for part in value]
    return value


def differences(now: object, before: object, where: str = "") -> list[str]:
    """What differs, one line each: an assertion on an empty list shows all of it."""
    if isinstance(now, dict) and isinstance(before, dict):
        keys = sorted(now.keys() | before.keys(), key=str)
        return [line for key in keys for line in differences(now.get(key), before.get(key), f"{where}.{key}")]
    return [] if now == before else [f"{where}: {now} (before: {before})"]
