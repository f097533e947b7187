"""The units a wish needs and what they read: leases and time for cameras (dnsmasq, chrony), a lease from the uplink (busybox's udhcpc).

Every value has passed `check.faults`: no line break or blank can get into a file. Paths are those of the installed system; the units
read them through `active/` in the network's folder, so that a change that is undone takes its services along.
"""

from __future__ import annotations

import ipaddress

from recorderd.model.network import CameraLan, IPv4Mode, LinkLocal, NetworkWish, Reach, Uplink
from recorderd.network.check import interface_of, lease_range
from recorderd.network.goal import uplink_link
from recorderd.network.linklocal import candidate

DNSMASQ = "recorderd-dnsmasq.service"
CHRONY = "recorderd-chrony.service"
DHCP = "recorderd-dhcp.service"
HOSTNAME = "recorderd-hostname.service"
RESOLV = "recorderd-resolv.service"

FILES = {  # what each unit reads: it is restarted when one of them is not what it was
    DNSMASQ: ("dnsmasq.conf",),
    CHRONY: ("chrony.conf",),
    DHCP: ("dhcp.env", "fallback.ip"),
    HOSTNAME: ("hostname",),
    RESOLV: ("resolv.conf",),
}

LEASES = "/run/recorderd-dnsmasq/leases"
UPLINK_LEASE = "/run/recorderd-dhcp/lease"
DNSMASQ_LEASES_MAX = 512
CANDIDATES = 4  # link-local addresses that are tried
ROUTE_METRIC = 100  # of the default route from a lease: a static one is preferred


def services_of(wish: NetworkWish, *, uplink_mac: str = "") -> tuple[tuple[str, ...], dict[str, str]]:
    """Units in the order in which they start, and their files by name. `uplink_mac` seeds the link-local addresses."""
    units: list[str] = []
    files: dict[str, str] = {}
    if wish.hostname:
        units.append(HOSTNAME)
        files["hostname"] = f"{wish.hostname}\n"
    if wish.uplink is not None:
        units.append(RESOLV)
        files["resolv.conf"] = resolv_conf(wish, lease_servers=(), lease_domain="")
    if wish.uplink is not None and wish.uplink.up and wish.uplink.ipv4.mode is IPv4Mode.DHCP:
        units.append(DHCP)
        files["dhcp.env"] = _dhcp_environment(wish, wish.uplink)
        files["fallback.ip"] = _fallback(wish.uplink, uplink_mac)
    if wish.cameras is not None and wish.cameras.dhcp:
        units.append(DNSMASQ)
        files["dnsmasq.conf"] = dnsmasq_conf(wish.cameras, has_uplink=wish.uplink is not None)
    if wish.uplink is not None or (wish.cameras is not None and wish.cameras.ntp):
        units.append(CHRONY)
        files["chrony.conf"] = chrony_conf(wish)
    return tuple(units), files


def dnsmasq_conf(cameras: CameraLan, *, has_uplink: bool) -> str:
    """DHCP only, on the bridge only. No gateway and no name server, unless an opening leads to the uplink."""
    own = interface_of(cameras.address)
    first, last = lease_range(cameras)
    leads_out = has_uplink and any(opening.reach is Reach.UPLINK for opening in cameras.allow)
    lines = [
        "# Written by recorderd; changed with `recorderctl net set`.",
        "port=0",
        f"interface={cameras.bridge}",
        "except-interface=lo",
        "bind-dynamic",
        "no-resolv",
        "no-hosts",
        "no-poll",
        "dhcp-authoritative",
        f"dhcp-leasefile={LEASES}",
        f"dhcp-lease-max={DNSMASQ_LEASES_MAX}",
        f"dhcp-range={first},{last},{own.netmask},{cameras.dhcp_lease_s}s",
        f"dhcp-option=option:router,{own.ip}" if leads_out else "dhcp-option=option:router",
        "dhcp-option=option:dns-server",
        f"dhcp-option=option:ntp-server,{own.ip}" if cameras.ntp else "dhcp-option=option:ntp-server",
    ]
    lines += [f"dhcp-host={mac},{address}" for mac, address in sorted(cameras.dhcp_hosts.items())]
    return "".join(f"{line}\n" for line in lines)


def chrony_conf(wish: NetworkWish) -> str:
    """The fixed part: whom to serve. Whom to ask and when the clock may be stepped is the time owner's, in the included folder."""
    lines = ["# Written by recorderd; changed with `recorderctl net set` and `recorderctl time servers`."]
    lines += [
        "driftfile /var/lib/recorderd-chrony/drift",
        "rtcsync",
        "leapsectz right/UTC",
        "pidfile /run/recorderd-chrony/chronyd.pid",
        "bindcmdaddress /run/recorderd-chrony/chronyd.sock",
        "maxchange 1 0 -1",  # until the time owner says otherwise, below
        "confdir /run/recorderd/chrony.d",
    ]
    if wish.cameras is not None and wish.cameras.ntp:
        lines += [
            f"binddevice {wish.cameras.bridge}",
            f"allow {interface_of(wish.cameras.address).network}",
            "local stratum 10",  # cameras agree with the recorder also while the recorder has nobody to ask
        ]
    else:
        lines.append("port 0")
    return "".join(f"{line}\n" for line in lines)


def resolv_conf(wish: NetworkWish, *, lease_servers: tuple[str, ...], lease_domain: str) -> str:
    """Declared servers first; what the lease says after them. resolv.conf(5) reads three."""
    servers = [*wish.dns.servers, *(lease_servers if wish.dns.from_dhcp else ())]
    search = [*wish.dns.search]
    domain = wish.dns.domain or (lease_domain if wish.dns.from_dhcp else "")
    if domain and domain not in search:
        search.insert(0, domain)
    lines = ["# Written by recorderd."]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    return "".join(f"{line}\n" for line in lines)


def _dhcp_environment(wish: NetworkWish, uplink: Uplink) -> str:
    values = {
        "INTERFACE": uplink_link(uplink),
        "METRIC": ROUTE_METRIC,
        "ROUTES": int(uplink.ipv4.routes_from_dhcp),
        "TAKE_HOSTNAME": int(wish.hostname_from_dhcp and not wish.hostname),
        "FALLBACK_LINK_LOCAL": int(uplink.ipv4.link_local is not LinkLocal.OFF),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _fallback(uplink: Uplink, mac: str) -> str:
    """Lines for the event script: addresses to try, and a gateway."""
    lines = []
    if uplink.ipv4.static_fallback:
        lines += [f"static {address}" for address in uplink.ipv4.addresses]
        lines += [f"gateway {uplink.ipv4.gateway}"] if uplink.ipv4.gateway else []
    if uplink.ipv4.link_local is not LinkLocal.OFF and mac:
        lines += [f"try {candidate(mac, attempt)}/16" for attempt in range(CANDIDATES)]
    return "".join(f"{line}\n" for line in lines)


def lease_fields(text: str) -> dict[str, str]:
    """What the event script wrote about the uplink's lease: `key value` lines; unknown keys and nonsense are dropped."""
    known = {"state", "interface", "ip", "prefix", "router", "dns", "domain", "ntp", "hostname", "lease_s", "server"}
    fields: dict[str, str] = {}
    for line in text[:8192].splitlines():
        key, _, value = line.partition(" ")
        if key in known and len(value) <= 512:
            fields[key] = value.strip()
    for key in ("dns", "ntp", "router"):
        if key in fields:
            fields[key] = " ".join(word for word in fields[key].split()[:8] if _is_address(word))
    return fields


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
