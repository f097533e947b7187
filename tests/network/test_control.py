"""`recorderctl net` and `recorderctl time` against the real faces, over a control socket, on a kernel of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from pathlib import Path

from recorderd.control.dispatch import Dispatch
from recorderd.control.network import NetworkFace
from recorderd.control.peer import AccessRules
from recorderd.control.server import ControlServer
from recorderd.control.time import TimeFace
from recorderd.model.clock import SystemClock
from recorderd.model.network import Ntp
from recorderd.network.timekeeper import TimeKeeper
from tests.network.eventually import until
from tests.network.namespaces import Lab, differences, picture, run
from tests.network.room import FORMER
from tests.network.test_service import Running


class Console:
    """A person with a terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""

    async def says(self, *words: str, expect: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "recorderd.ctl.main",
            "--socket",
            str(self.path),
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        out, _ = await process.communicate()
        text = out.decode()
        assert process.returncode == expect, text
        return text


def serve(made: Running, keeper: TimeKeeper, tmp_path: Path) -> tuple[ControlServer, socket.socket, Console]:
    table = Dispatch()
    NetworkFace(service=made.service, helper=str(tmp_path / "helper")).bind(table)
    TimeFace(keeper=keeper).bind(table)
    assert not table.missing()
    path = tmp_path / "control"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.setblocking(False)
    server = ControlServer(dispatch=table, rules=AccessRules(None, None, os.geteuid()))
    return server, listening, Console(path)


def keeper_for(made: Running, tmp_path: Path) -> TimeKeeper:
    return TimeKeeper(
        managed=False,
        ntp=Ntp(),
        zone="Europe/Berlin",
        state_folder=tmp_path / "state",
        run_folder=tmp_path / "run",
        units=made.room.units,
        events=made.heard,
        clock=SystemClock(),
        disciplined=lambda: False,
        has_rtc=lambda: False,
        watch_steps=False,
    )


async def captured(lab: Lab, person: Console, tmp_path: Path) -> None:
    """A capture through the real helper, read by tcpdump."""
    assert "cannot reach recorderd-helper" in await person.says(
        "net", "capture", "eth0", "-o", str(tmp_path / "x.pcapng"), expect=1
    )
    path = tmp_path / "helper"
    helper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "recorderd.workers.helper", "--socket", str(path), "--user", "root"),
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        await until(path.exists)
        await asyncio.sleep(0.3)  # bound, and then listening
        lab.start("u", "busybox", "arping", "-q", "-c", "20", "-I", "eth0", "10.1.0.8")
        out = tmp_path / "uplink.pcapng"
        assert "packets of eth0" in await person.says("net", "capture", "eth0", "-o", str(out), "--seconds", "2")
        assert "no port" in await person.says("net", "capture", "17", "-o", str(tmp_path / "y"), expect=1)
        assert "exists" in await person.says("net", "capture", "eth0", "-o", str(out), expect=1)
    finally:
        helper.kill()
        await helper.wait()
    shown = await asyncio.to_thread(run, "tcpdump", "-n", "-r", str(out))
    assert "who-has 10.1.0.8" in shown.stdout, shown
    assert out.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"


def test_a_change_from_the_command_line(lab: Lab, tmp_path: Path) -> None:
    made = Running(tmp_path)
    keeper = keeper_for(made, tmp_path)

    async def tell() -> None:
        server, listening, person = serve(made, keeper, tmp_path)
        serving = asyncio.ensure_future(server.serve(listening))
        keeping = asyncio.ensure_future(keeper.run())
        try:
            before = picture()
            assert "eth9" in await person.says("net", "set", "uplink.interface=eth9", expect=1)
            said = await person.says(
                "net", "set", "uplink.interface=eth0", "uplink.ipv4.addresses=10.1.0.8/24", "cameras.ports=lan1"
            )
            assert "eth0: add address 10.1.0.8/24" in said
            assert picture() == before  # declaring changes nothing
            assert "uplink.ipv4.addresses = 10.1.0.8/24" in await person.says("net", "show")
            said = await person.says("net", "apply", "--confirm-within", "2min")
            token = re.search(r"net confirm ([0-9a-f]{10})", said)
            assert token is not None, said
            assert "PENDING" in await person.says("net", "status")
            assert "not the token" in await person.says("net", "confirm", "0000000000", expect=1)
            await person.says("net", "confirm", token[1])
            after = picture()
            assert [a["local"] for a in after["links"]["eth0"]["addresses"]] == ["10.1.0.8"]
            assert "nothing to roll back" in await person.says("net", "rollback", expect=1)
            # another one, thought better of
            await person.says("net", "set", "cameras.address=192.168.77.1/24")
            await person.says("net", "apply")
            assert differences(picture(), after)
            assert "stands again" in await person.says("net", "rollback")
            assert not differences(picture(), after)
            await until(lambda: made.service.status().trouble == ())
            status = json.loads(await person.says("--json", "net", "status"))["status"]
            assert status["managed"] is True
            assert {link["name"]: link["role"] for link in status["links"]} == {
                "eth0": "uplink",
                "lan1": "camera_port",
                "lan2": "camera_port",
                "cameras": "camera_bridge",
            }
            assert "PORT" in await person.says("net", "leases")
            assert "PORT" in await person.says("net", "neighbours")
            await captured(lab, person, tmp_path)
            # the rescue keeps the cameras' side
            assert "NEW login" in await person.says("net", "rescue")
            links = picture()["links"]
            assert links["lan1"]["master"] == "cameras"
            assert any(a["local"].startswith("169.254.") for a in links["eth0"]["addresses"])
            await person.says("net", "rollback")
            # time
            said = await person.says("time", "status", expect=1)
            assert "Europe/Berlin" in said
            assert "not set since power-on" in said
            assert "RFC 3339" in await person.says("time", "set", "tomorrow", expect=1)
            await person.says("time", "set", "2027-01-01T00:00:00Z")
            assert "an operator set it" in await person.says("time", "status")
            assert "IANA" in await person.says("time", "zone", "Mars/Olympus", expect=1)
            assert "Asia/Tokyo" in await person.says("time", "zone")
            await person.says("time", "zone", "Asia/Tokyo")
            assert json.loads(await person.says("--json", "time", "status"))["status"]["posix_zone"] == "JST-9"
            assert "nothing waits" in await person.says("time", "trust", expect=1)
            await person.says("time", "servers", "ntp.example", "--no-dhcp")
        finally:
            for task in (serving, keeping):
                task.cancel()
            await asyncio.gather(serving, keeping, return_exceptions=True)
            listening.close()

    async def with_former() -> None:
        await made.room.settle(FORMER)

    asyncio.run(with_former())
    made.story(tell, settle=True)
