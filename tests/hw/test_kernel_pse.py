"""Kernel PSE over ethtool netlink: messages against hand-packed bytes, states, kernels of different age, and this machine's own kernel."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

import pytest

from hw.poe.errors import BusFailed, BusForbidden, BusMissing, NotSupported
from hw.poe.kernel_pse import KernelPse
from hw.poe.kernel_pse_messages import PSE_SET, PseMessage, attributes, message
from hw.poe.vocabulary import Fault, PortState, Priority
from hw.sim.pse.kernel_pse import SimulatedKernel
from hw.sim.pse.load import Load, Supply

NETDEVS = ("lan1", "lan2", "lan3", "lan4")
_NUMBERS = {"ADMIN_CONTROL": 6, "LIMIT": 12, "PRIORITY": 16}


class Wire:
    """`PseNetlink` that carries bytes between the driver's message class and the simulated kernel's packing."""

    def __init__(self, kernel: SimulatedKernel) -> None:
        self.kernel = kernel

    def get(self, netdev: str) -> Mapping[str, int]:
        body = self.kernel.reply(netdev)
        raw = struct.pack("=IHHII", 16 + len(body), 21, 0, 1, 0) + body
        decoded = PseMessage(raw)
        decoded.decode()
        return attributes(decoded)

    def set(self, netdev: str, settings: Mapping[str, int]) -> None:
        made = message(PSE_SET, netdev, dict(settings))
        made.encode()
        found: dict[int, int] = {}
        at, data = 20, bytes(made.data)
        assert data[16:18] == bytes((PSE_SET, 1))
        name = b""
        while at + 4 <= len(data):
            length, number = struct.unpack_from("=HH", data, at)
            if number & 0x7FFF == 1:
                name = data[at + 8 : at + length].rstrip(b"\0")
            else:
                found[number] = struct.unpack_from("=I", data, at + 4)[0]
            at += (length + 3) & ~3
        assert name == netdev.encode()
        self.kernel.change(netdev, found)

    def close(self) -> None: ...


def _rig(features: int = 17) -> tuple[SimulatedKernel, KernelPse]:
    kernel = SimulatedKernel(now=lambda: 0.0, supply=Supply(), netdevs=NETDEVS, features=features)
    driver = KernelPse(netdevs=NETDEVS, connect=lambda: Wire(kernel))
    driver.open()
    return kernel, driver


def test_states_power_and_denial() -> None:
    kernel, driver = _rig()
    kernel.budget_mw = 40_000
    kernel.ports["lan1"].load = Load(pd_class=4, draw_mw=22_000)
    kernel.ports["lan2"].load = Load(pd_class=4)
    driver.set_admin(2, on=False)
    ports = driver.read().ports
    assert [p.state for p in ports] == [PortState.DELIVERING, PortState.DENIED, PortState.DISABLED, PortState.SEARCHING]
    assert (ports[0].power_mw, ports[0].pd_class, ports[0].allocated_mw) == (22_000, 4, 30_000)
    assert ports[1].fault is Fault.POWER_DENIED
    driver.set_priority(1, Priority.CRITICAL)
    ports = driver.read().ports
    assert ports[1].delivering and ports[1].priority is Priority.CRITICAL and not ports[0].delivering


@pytest.mark.parametrize(("ext", "fault"), [(6, Fault.OVERLOAD), (9, Fault.SHORT), (1, Fault.HARDWARE)])
def test_faults_are_told_once(ext: int, fault: Fault) -> None:
    kernel, driver = _rig()
    kernel.ports["lan1"].load = Load()
    driver.read()
    kernel.ports["lan1"].fault = ext
    assert [(f.channel, f.fault) for f in driver.read().faults] == [(0, fault)]
    assert not driver.read().faults


@pytest.mark.parametrize("features", [10, 12, 17])
def test_older_kernels_leave_out_what_they_do_not_know(features: int) -> None:
    kernel, driver = _rig(features)
    kernel.ports["lan1"].load = Load(draw_mw=5_000)
    port = driver.read().ports[0]
    assert port.delivering
    assert (port.power_mw, port.pd_class) == ((5_000, 3) if features >= 12 else (None, None))
    if features < 17:
        with pytest.raises(NotSupported, match="no priorities"):
            driver.set_priority(0, Priority.HIGH)


def test_limits_reach_the_kernel_and_its_refusal_the_operator() -> None:
    kernel, driver = _rig()
    driver.set_limit(0, 12_000)
    assert kernel.ports["lan1"].limit_mw == 12_000
    with pytest.raises(BusFailed):
        driver.set_limit(0, 120_000)


@pytest.mark.parametrize(
    ("code", "error", "match"),
    [
        (errno.EOPNOTSUPP, NotSupported, "the kernel knows no PSE behind it"),
        (errno.ENODEV, BusMissing, "no such network device"),
        (errno.EPERM, BusForbidden, "CAP_NET_ADMIN"),
    ],
)
def test_what_a_kernel_refuses_is_one_clear_line(code: int, error: type[Exception], match: str) -> None:
    kernel, driver = _rig()
    kernel.refuses = code
    with pytest.raises(error, match=match):
        driver.read()


def test_a_poll_asks_the_kernel_once_for_each_port() -> None:
    class Counted(Wire):
        asked = 0

        def get(self, netdev: str) -> Mapping[str, int]:
            self.asked += 1
            return super().get(netdev)

    wire = Counted(SimulatedKernel(now=lambda: 0.0, supply=Supply(), netdevs=NETDEVS))
    driver = KernelPse(netdevs=NETDEVS, connect=lambda: wire)
    driver.open()
    wire.asked = 0
    for _ in range(10):
        driver.read()
    assert wire.asked == 10 * len(NETDEVS)


def test_this_kernel_answers_for_its_loopback() -> None:
    driver = KernelPse(netdevs=("lo",))
    with pytest.raises((NotSupported, BusMissing)):
        driver.open()
    driver.close()
    missing = KernelPse(netdevs=("no-such-dev",))
    with pytest.raises(BusMissing):
        missing.open()
    missing.close()
