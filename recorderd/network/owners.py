"""Whether someone else runs this machine's network, and whether we may. Each answer is one line for the operator."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
FILE_MAX_BYTES = 65536


def other_owners(links: Iterable[tuple[str, int]], root: Path = Path("/")) -> tuple[str, ...]:
    """Programs that manage one of the links (name, number): networkd, NetworkManager, dhcpcd, ifupdown, by what they leave in /run."""
    found = []
    for name, number in links:
        owner, remedy = _owner(name, number, root / "run")
        if owner:
            found.append(f"{name} belongs to {owner}: recorderd changes nothing there. {remedy}")
    return tuple(found)


def missing_powers(root: Path = Path("/"), *, tools: Iterable[str] = ("ip", "nft", "sysctl")) -> tuple[str, ...]:
    """What the daemon lacks for managing a network."""
    found = []
    if not has_capability(CAP_NET_ADMIN, root):
        found.append("the daemon may not change the network: CAP_NET_ADMIN is missing (recorderd.service grants it)")
    found += [
        f"the program {tool} is missing, without which no change can be undone"
        for tool in tools
        if not shutil.which(tool)
    ]
    return tuple(found)


def has_capability(number: int, root: Path = Path("/")) -> bool:
    """Whether this process has it in its effective set (proc(5), CapEff)."""
    for line in (root / "proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff":
            return bool(int(value, 16) >> number & 1)
    return False


def _owner(name: str, number: int, run: Path) -> tuple[str, str]:
    networkd = _values(run / "systemd/netif/links" / str(number))
    if networkd.get("ADMIN_STATE", "unmanaged") not in {"unmanaged", "pending", "initialized"}:
        return "systemd-networkd", f"Give it `Unmanaged=yes` in a .network file for {name}, then `networkctl reload`."
    manager = _values(run / "NetworkManager/devices" / str(number))
    if manager.get("managed") in {"true", "1", "full"}:
        return "NetworkManager", f"First: `nmcli device set {name} managed no`, and keep it so in NetworkManager.conf."
    if any(
        (run / place).exists() for place in (f"dhcpcd-{name}.pid", f"dhcpcd/{name}.pid", "dhcpcd/pid", "dhcpcd.pid")
    ):
        return "dhcpcd", f"First: `denyinterfaces {name}` in dhcpcd.conf, then restart it."
    if f"{name}={name}" in _text(run / "network/ifstate").split():
        return "ifupdown", f"First take {name} out of /etc/network/interfaces and run `ifdown {name}` from the console."
    return "", ""


def _values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in _text(path).splitlines() if "=" in line)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(FILE_MAX_BYTES)
    except OSError:  # not there, or not for us to read: nobody we know owns the link
        return ""
