"""PSE controllers that a kernel driver owns, through ethtool netlink: one network device per channel, the kernel keeps the budget.

Kernels differ in what they tell: classes, power and limits from 6.11 on, priorities from 6.17 on. What is missing is None.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Protocol

from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from hw.poe.controller import Capabilities, ControllerReading, Grants, Identity, LinkCounters, PortFault, PortReading
from hw.poe.errors import BusFailed, BusForbidden, BusMissing, NotSupported, PoeError
from hw.poe.kernel_pse_messages import FAMILY, PSE_GET, PSE_SET, PseMessage, attributes, message
from hw.poe.vocabulary import CLASS_PSE_MW, Detection, Fault, PortState, Priority

_STATES = {
    1: PortState.UNKNOWN,
    2: PortState.DISABLED,
    3: PortState.SEARCHING,
    4: PortState.DELIVERING,
    5: PortState.TEST,
    6: PortState.FAULT,
    7: PortState.OTHER_FAULT,
}
_ENABLED, _DISABLED = 3, 2
_POWER_NOT_AVAILABLE = 8
_EXT_FAULTS = {2: Fault.MPS_ABSENT, 5: Fault.SUPPLY_LOW, 6: Fault.OVERLOAD, 8: Fault.POWER_DENIED, 9: Fault.SHORT}
_OVER_TEMPERATURE_SUBSTATE = 9


class PseNetlink(Protocol):
    """Raises OSError with the kernel's errno."""

    def get(self, netdev: str) -> Mapping[str, int]:
        """The attributes by the names of `PseMessage` without their prefix."""

    def set(self, netdev: str, settings: Mapping[str, int]) -> None: ...

    def close(self) -> None: ...


class EthtoolSocket:
    """The kernel's own."""

    def __init__(self) -> None:
        try:
            self._socket = GenericNetlinkSocket()
        except OSError as error:
            raise BusFailed(f"netlink: {error.strerror or error}") from error
        try:
            self._socket.bind(FAMILY, PseMessage)
        except (NetlinkError, OSError) as error:
            self._socket.close()
            raise BusMissing("this kernel has no ethtool netlink family") from error

    def get(self, netdev: str) -> Mapping[str, int]:
        for answer in self._request(PSE_GET, netdev, {}, NLM_F_REQUEST):
            return attributes(answer)
        raise OSError(errno.ENODATA, "empty answer")

    def set(self, netdev: str, settings: Mapping[str, int]) -> None:
        self._request(PSE_SET, netdev, settings, NLM_F_REQUEST | NLM_F_ACK)

    def _request(self, command: int, netdev: str, settings: Mapping[str, int], flags: int) -> list[PseMessage]:
        try:
            made = message(command, netdev, dict(settings))
            return list(self._socket.nlm_request(made, msg_type=self._socket.prid, msg_flags=flags))
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error

    def close(self) -> None:
        self._socket.close()


class KernelPse:
    """`connect` opens the socket; it is called in `open`, so in the bus's thread."""

    def __init__(self, *, netdevs: tuple[str, ...], connect: Callable[[], PseNetlink] = EthtoolSocket) -> None:
        self._netdevs = netdevs
        self._connect = connect
        self._netlink: PseNetlink | None = None
        self._lowest: dict[int, int] = {}  # channel: the largest priority number
        self._states: dict[int, PortState] = {}
        self._transfers = 0
        self.capabilities = Capabilities(
            grants=Grants.CHIP, limits=True, limit_step_mw=0, priorities=3, four_pair=True, class_before_power=False
        )

    @property
    def channels(self) -> int:
        return len(self._netdevs)

    def open(self) -> Identity:
        self._netlink = self._netlink or self._connect()
        domains = {self._get(netdev).get("DOMAIN") for netdev in self._netdevs} - {None}
        return Identity("kernel PSE", detail=f"{len(self._netdevs)} ports in {max(1, len(domains))} power domains")

    def _get(self, netdev: str) -> Mapping[str, int]:
        assert self._netlink is not None
        self._transfers += 1
        try:
            return self._netlink.get(netdev)
        except OSError as error:
            raise _explain(error, netdev) from error

    def read(self) -> ControllerReading:
        faults: list[PortFault] = []
        ports = tuple(self._reading(channel, self._get(netdev), faults) for channel, netdev in enumerate(self._netdevs))
        return ControllerReading(ports=ports, faults=tuple(faults), link=LinkCounters(transfers=self._transfers))

    def _reading(self, channel: int, found: Mapping[str, int], faults: list[PortFault]) -> PortReading:
        state = _STATES.get(found.get("STATUS", 1), PortState.UNKNOWN)
        ext, substate = found.get("EXT_STATE", 0), found.get("EXT_SUBSTATE", 0)
        fault = _EXT_FAULTS.get(ext)
        if ext == 1:
            fault = Fault.OVER_TEMPERATURE if substate == _OVER_TEMPERATURE_SUBSTATE else Fault.HARDWARE
        if ext == _POWER_NOT_AVAILABLE and state is not PortState.DELIVERING:
            state = PortState.DENIED
        failed = state in (PortState.FAULT, PortState.OTHER_FAULT)
        if failed and self._states.get(channel) is not state:
            faults.append(PortFault(channel, fault or Fault.HARDWARE, f"ext state {ext}.{substate}"))
        self._states[channel] = state
        on = state is PortState.DELIVERING
        pd_class = found.get("CLASS") if on else None
        lowest = found.get("PRIORITY_MAX", 0)
        self._lowest[channel] = lowest
        limit = found.get("LIMIT")
        allocated = None
        if on and pd_class is not None:
            allocated = min(CLASS_PSE_MW.get(pd_class, 15_400), limit or 90_000)
        return PortReading(
            channel,
            admin=found.get("ADMIN_STATE", 1) == _ENABLED,
            state=state,
            detection=Detection.VALID if on else Detection.UNKNOWN,
            pd_class=pd_class,
            power_mw=found.get("ACTUAL_POWER") if on else 0,
            allocated_mw=allocated,
            limit_mw=limit,
            priority=_from_kernel(found["PRIORITY"], lowest) if "PRIORITY" in found else None,
            fault=fault if failed or state is PortState.DENIED else None,
            detail=f"ext state {ext}.{substate}" if ext else "",
        )

    def _set(self, channel: int, settings: Mapping[str, int]) -> None:
        assert self._netlink is not None
        if not 0 <= channel < len(self._netdevs):
            raise PoeError(f"kernel PSE: no channel {channel}")
        try:
            self._netlink.set(self._netdevs[channel], settings)
        except OSError as error:
            raise _explain(error, self._netdevs[channel]) from error

    def set_admin(self, channel: int, on: bool) -> None:
        self._set(channel, {"ADMIN_CONTROL": _ENABLED if on else _DISABLED})

    def grant(self, channel: int, limit_mw: int) -> None:
        raise NotSupported(f"kernel PSE: channel {channel}: the kernel grants power, {limit_mw} mW or not")

    def withdraw(self, channel: int) -> None:
        self.set_admin(channel, on=False)

    def set_limit(self, channel: int, limit_mw: int) -> None:
        self._set(channel, {"LIMIT": limit_mw})

    def set_priority(self, channel: int, priority: Priority) -> None:
        """The kernel counts from 0, highest, to a maximum it tells."""
        lowest = self._lowest.get(channel, 0)
        if not lowest:
            raise NotSupported(f"{self._netdevs[channel]}: this kernel or controller has no priorities")
        self._set(channel, {"PRIORITY": min(int(priority) - 1, lowest)})

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None


def _from_kernel(number: int, lowest: int) -> Priority:
    if number == 0:
        return Priority.CRITICAL
    return Priority.LOW if number >= min(2, lowest) else Priority.HIGH


def _explain(error: OSError, netdev: str) -> PoeError:
    match error.errno:
        case errno.EOPNOTSUPP:
            return NotSupported(
                f"{netdev}: the kernel knows no PSE behind it (driver missing, or no pses in the device tree)"
            )
        case errno.ENODEV:
            return BusMissing(f"{netdev}: no such network device")
        case errno.EPERM | errno.EACCES:
            return BusForbidden(f"{netdev}: no permission (needs CAP_NET_ADMIN)")
    return BusFailed(f"{netdev}: {error.strerror or error}")
