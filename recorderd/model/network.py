"""What the recorder's network should be: the uplink, the camera LAN, routes, DNS, NTP servers, host name.

One value of `NetworkWish` says it all. It is what `[network]` in recorderd.toml and the control protocol declare, and what a transaction of
the network room makes true. The fields carry what VAPIX network_settings.cgi can set, so that a gateway needs no second model.
Strings are checked by `recorderd.network.check`, not here: a wish may be wrong, and then every fault is told at once.
"""

from __future__ import annotations

import enum

import msgspec


class IPv4Mode(enum.StrEnum):
    DHCP = "dhcp"
    STATIC = "static"
    OFF = "off"


class IPv6Mode(enum.StrEnum):
    AUTO = "auto"  # router advertisements
    STATIC = "static"  # our addresses only; advertisements are not taken
    LINK_LOCAL = "link_local"
    OFF = "off"


class LinkLocal(enum.StrEnum):
    """169.254/16 (RFC 3927) on the uplink."""

    OFF = "off"
    ON = "on"
    FALLBACK = "fallback"  # while DHCP gave nothing


class Reach(enum.StrEnum):
    """What an exception to the cameras' isolation opens."""

    RECORDER = "recorder"  # a service on the recorder itself
    UPLINK = "uplink"  # hosts behind the uplink
    CAMERAS = "cameras"  # the cameras reach each other through the bridge


class Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything a person may write: unknown keys are errors."""


class UplinkIPv4(Declared, frozen=True):
    mode: IPv4Mode = IPv4Mode.DHCP
    addresses: tuple[str, ...] = ()  # "192.168.1.5/24"
    gateway: str = ""
    link_local: LinkLocal = LinkLocal.FALLBACK
    static_fallback: bool = False  # `addresses` and `gateway` serve while DHCP gives nothing
    routes_from_dhcp: bool = False  # option 121


class UplinkIPv6(Declared, frozen=True):
    mode: IPv6Mode = IPv6Mode.AUTO
    addresses: tuple[str, ...] = ()  # "2001:db8::5/64"
    gateway: str = ""


class Uplink(Declared, frozen=True):
    interface: str
    vlan: int = 0  # 802.1Q id 1..4094; 0: untagged
    mtu: int = 0  # bytes; 0: as it is
    up: bool = True
    ipv4: UplinkIPv4 = UplinkIPv4()
    ipv6: UplinkIPv6 = UplinkIPv6()


class Opening(Declared, frozen=True):
    """One explicit hole in the cameras' isolation."""

    reach: Reach
    source: str = ""  # camera address or network; empty: every camera
    destination: str = ""  # address or network behind the uplink; only for reach = "uplink"
    protocol: str = ""  # tcp or udp; empty: any
    port: int = 0  # destination port; 0: any
    why: str = ""  # shown in status


class CameraLan(Declared, frozen=True):
    ports: tuple[str, ...]  # interfaces of the switch ports, in the order of their labels
    address: str = "192.168.50.1/24"  # the recorder's own, and the cameras' network
    bridge: str = "cameras"
    mtu: int = 0
    vlan_aware: bool = False
    vlan: int = 1  # untagged VLAN of the ports, where vlan_aware
    isolate: bool = True
    dhcp: bool = True
    dhcp_first: str = ""  # empty: the upper three quarters of the network
    dhcp_last: str = ""
    dhcp_lease_s: int = 3600
    dhcp_hosts: dict[str, str] = {}  # MAC -> fixed address
    ntp: bool = True
    labels: dict[str, str] = {}  # interface -> label on the case, over the board's own
    places: dict[str, str] = {}  # MAC -> label, where an unmanaged switch hides the port
    allow: tuple[Opening, ...] = ()


class Route(Declared, frozen=True):
    to: str  # network
    via: str
    metric: int = 0


class Dns(Declared, frozen=True):
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    domain: str = ""
    from_dhcp: bool = True  # what the lease says comes after `servers`


class Ntp(Declared, frozen=True):
    servers: tuple[str, ...] = ()
    from_dhcp: bool = True


class NetworkWish(Declared, frozen=True):
    """The whole of it. Without `uplink` or `cameras` that part belongs to someone else and is left alone."""

    hostname: str = ""  # empty: as it is, or DHCP's
    hostname_from_dhcp: bool = False
    uplink: Uplink | None = None
    cameras: CameraLan | None = None
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()
    ntp: Ntp = Ntp()


class NetworkSettings(NetworkWish, frozen=True):
    """`[network]` in recorderd.toml."""

    manage: bool = False  # only then is anything ever changed
    ssh_ports: tuple[int, ...] = (22,)  # whose peers' switch ports are never power-cycled

    def wish(self) -> NetworkWish:
        return NetworkWish(**{name: getattr(self, name) for name in NetworkWish.__struct_fields__})
