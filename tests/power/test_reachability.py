"""Reaching cameras: TCP on loopback, ARP between two network namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from recorderd.power.reachability import NetworkProber
from tests.simulated_time import FakeClock


def test_open_closed_and_web_ports_are_told_apart() -> None:
    async def main() -> None:
        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(close, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        closed = await asyncio.start_server(close, "127.0.0.1", 0)
        closed_port = closed.sockets[0].getsockname()[1]
        closed.close()
        await closed.wait_closed()
        web = NetworkProber(clock=FakeClock(), web_ports=(port,))
        found = await web.reach(f"127.0.0.1:{closed_port}")
        assert found.tcp and found.web
        none = NetworkProber(clock=FakeClock(), web_ports=(closed_port,))
        found = await none.reach(f"127.0.0.1:{closed_port}")
        assert found.tcp and not found.web, "a refusal is an answer"
        assert not (await none.reach("not an address")).anything
        server.close()
        await server.wait_closed()

    asyncio.run(main())


_IN_NAMESPACE = textwrap.dedent(
    """
    import asyncio, subprocess, sys
    from recorderd.model.clock import SystemClock
    from recorderd.power.reachability import NetworkProber

    async def main():
        prober = NetworkProber(clock=SystemClock(), timeout_s=1.0)
        up = await prober.reach("192.0.2.2")
        subprocess.run(["ip", "-n", sys.argv[1], "address", "del", "192.0.2.2/24", "dev", "peer0"], check=True)
        down = [await prober.reach("192.0.2.2") for _ in range(4)]
        print(int(up.tcp), int(bool(up.arp)), *(int(r.anything) for r in down))

    asyncio.run(main())
    """
)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")
def test_a_camera_that_vanishes_stops_answering_arp_within_seconds() -> None:
    near, far = f"poe-near-{os.getpid()}", f"poe-far-{os.getpid()}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    with contextlib.ExitStack() as stack:
        for name in (near, far):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        ip("-n", near, "link", "add", "host0", "type", "veth", "peer", "name", "peer0", "netns", far)
        for name, link, address in ((near, "host0", "192.0.2.1/24"), (far, "peer0", "192.0.2.2/24")):
            ip("-n", name, "address", "add", address, "dev", link)
            ip("-n", name, "link", "set", link, "up")
        done = subprocess.run(
            ["ip", "netns", "exec", near, sys.executable, "-c", _IN_NAMESPACE, far],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
    assert done.returncode == 0, done.stderr
    tcp, arp, *down = done.stdout.split()
    assert (tcp, arp) == ("1", "1")
    assert down[-3:] == ["0", "0", "0"]
