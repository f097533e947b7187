"""The privileged helper on loop devices: what it does, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorderd.protocol import helper
from recorderd.ring.disks.helper_client import HelperClient, HelperFailed
from recorderd.workers.helper import gpt, inventory
from recorderd.workers.helper.serve import answer, serve
from recorderd.workers.helper.verbs import Rules, find_disk, partition_path
from tests.peers.disk_image import bare_disk

MIB = 1 << 20
needs_loop = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
    ),
]


def test_a_partition_table_is_what_other_tools_read(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(256 * MIB))
    parts = gpt.plan(256 * MIB, 512, 60 * MIB)
    with image.open("r+b") as file:
        for offset, data in gpt.tables(256 * MIB, 512, parts, uuid.uuid4()).items():
            file.seek(offset)
            file.write(data)
    out = subprocess.run(
        ["partx", "--raw", "-o", "START,END,NAME", str(image)], capture_output=True, text=True, check=True
    )
    assert [line.split(" ", 2)[2] for line in out.stdout.splitlines()[1:]] == [
        "recorderd\\x20ring",
        "recorderd\\x20objects",
    ]
    assert [line.split()[0] for line in out.stdout.splitlines()[1:]] == ["2048", str(195 * 2048)]
    blkid = subprocess.run(
        ["blkid", "-p", "-s", "PTTYPE", "-o", "value", str(image)], capture_output=True, text=True, check=True
    )
    assert blkid.stdout.strip() == "gpt"


@pytest.mark.parametrize("objects", [200 * MIB, 1 << 60])
def test_objects_never_leave_the_ring_too_little(objects: int) -> None:
    with pytest.raises(ValueError, match="quarter"):
        gpt.plan(256 * MIB, 512, objects)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"verb":"shell","command":"id"}',
        b'{"verb":"mkfs","device":"/dev/sda1","holds":""}',
        b'{"verb":"mkfs","device":"/dev/../etc/passwd","holds":""}',
        b'{"verb":"mkfs","device":"/dev/sda; reboot","holds":""}',
        b'{"verb":"mkfs","device":"/dev/sda","holds":"","kind":"btrfs"}',
        b'{"verb":"timeout","device":"/dev/sda","seconds":99999}',
        b'{"verb":"capture","interface":"../x","seconds":1,"max_bytes":4096}',
        b'{"verb":"mount","device":"/dev/sda","at":"/etc"}',
        b"\xff\xfe",
    ],
)
def test_what_is_not_a_request_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        helper.decode_request(line)


def test_a_partition_is_named_as_the_kernel_names_it() -> None:
    assert [partition_path(d, 2) for d in ("/dev/sda", "/dev/nvme0n1", "/dev/mmcblk0")] == [
        "/dev/sda2",
        "/dev/nvme0n1p2",
        "/dev/mmcblk0p2",
    ]


def rules(tmp_path: Path, *devices: str) -> Rules:
    return Rules(devices, tmp_path / "ring", tmp_path / "objects", os.geteuid(), os.getegid())


def quiet(_text: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def loop_disk(tmp_path: Path) -> Iterator[str]:
    with bare_disk(tmp_path, 512) as device:
        yield device


def disk(device: str) -> helper.Disk:
    return next(each for each in inventory.disks() if each.device == device)


class TestOnALoopDevice:
    pytestmark = needs_loop

    @pytest.mark.parametrize("kind", ["ext4", "xfs"])
    def test_a_disk_is_made_mounted_checked_and_let_go(self, tmp_path: Path, loop_disk: str, kind: str) -> None:
        allowed = rules(tmp_path)
        told: list[str] = []
        blank = disk(loop_disk)
        assert (blank.holds, blank.system) == ("nothing known", False)
        made = answer(
            allowed,
            helper.MakeFileSystem(device=loop_disk, holds="nothing known", kind=kind, objects_bytes=100 * MIB),  # type: ignore[arg-type]
            told.append,
        )
        assert isinstance(made, helper.Made), made
        assert (made.ring_part, made.objects_part) == (f"{loop_disk}p1", f"{loop_disk}p2")
        assert told[0] == "writing the partition table"
        after = disk(loop_disk)
        assert after.holds == "a ring of recordings, exports and uploads"
        assert [part.fs_kind for part in after.parts] == [kind, "ext4"]

        assert isinstance(answer(allowed, helper.Mount(device=loop_disk), quiet), helper.Done)
        assert os.path.ismount(tmp_path / "ring") and os.path.ismount(tmp_path / "objects")
        options = next(
            line.split()[3] for line in Path("/proc/mounts").read_text().splitlines() if f" {tmp_path}/ring " in line
        )
        assert "noatime" in options and ("commit=60" in options) == (kind == "ext4")
        assert isinstance(answer(allowed, helper.Mount(device=loop_disk), quiet), helper.Done)

        busy = answer(allowed, helper.CheckFileSystem(device=loop_disk), quiet)
        assert isinstance(busy, helper.Failed) and busy.refused
        erase = helper.MakeFileSystem(device=loop_disk, holds=disk(loop_disk).holds)
        busy = answer(allowed, erase, quiet)
        assert isinstance(busy, helper.Failed) and "unmount it first" in busy.text

        assert isinstance(answer(allowed, helper.Unmount(device=loop_disk), quiet), helper.Done)
        assert not os.path.ismount(tmp_path / "ring")
        checked = answer(allowed, helper.CheckFileSystem(device=loop_disk, repair=True), quiet)
        assert isinstance(checked, helper.Checked) and checked.clean

    def test_a_disk_that_holds_something_else_than_was_agreed_is_not_touched(
        self, tmp_path: Path, loop_disk: str
    ) -> None:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "holidays", loop_disk], check=True)
        before = disk(loop_disk).holds
        assert before == "ext4 'holidays'"
        for claimed in ("nothing known", "a ring of recordings"):
            done = answer(rules(tmp_path), helper.MakeFileSystem(device=loop_disk, holds=claimed), quiet)
            assert isinstance(done, helper.Failed) and done.refused
        assert disk(loop_disk).holds == before
        done = answer(rules(tmp_path), helper.Mount(device=loop_disk), quiet)
        assert isinstance(done, helper.Failed) and "not a ring" in done.text

    def test_only_the_disks_of_the_recorder_may_be_touched(self, tmp_path: Path, loop_disk: str) -> None:
        done = answer(
            rules(tmp_path, "/dev/sd?"), helper.MakeFileSystem(device=loop_disk, holds="nothing known"), quiet
        )
        assert isinstance(done, helper.Failed) and "not one of the disks" in done.text
        assert find_disk(rules(tmp_path, "/dev/loop*"), loop_disk).device == loop_disk
        gone = answer(rules(tmp_path), helper.Unmount(device="/dev/sdzz"), quiet)
        assert isinstance(gone, helper.Failed) and gone.refused

    def test_health_says_why_it_says_nothing(self, tmp_path: Path, loop_disk: str) -> None:
        health = answer(rules(tmp_path), helper.ReadHealth(device=loop_disk), quiet)
        assert isinstance(health, helper.Health)
        assert health.detail or isinstance(json.loads(bytes(health.smart)), dict)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="recorderd-helper-", dir="/tmp"))  # one that another user can enter
    folder.chmod(0o755)
    path = folder / "helper"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    ended = threading.Event()

    def started_on_demand() -> None:
        while not ended.is_set():
            serve(listening, rules(tmp_path), idle_s=0.3)

    thread = threading.Thread(target=started_on_demand)
    thread.start()
    yield path
    ended.set()
    thread.join()
    listening.close()
    shutil.rmtree(folder)


def test_the_client_asks_and_hears_refusals(served: Path) -> None:
    async def main() -> None:
        client = HelperClient(path=str(served))
        disks = await client.ask(helper.ListDisks(), helper.Disks)
        assert all(each.device.startswith("/dev/") for each in disks.disks)
        with pytest.raises(HelperFailed) as caught:
            await client.ask(helper.Mount(device="/dev/sdzz"), helper.Done)
        assert caught.value.refused

    asyncio.run(main())


def test_an_absent_helper_is_said_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(HelperFailed, match="cannot reach recorderd-helper"):
            await HelperClient(path=str(tmp_path / "none")).ask(helper.ListDisks(), helper.Disks)

    asyncio.run(main())


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_gets_nothing(served: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    served.chmod(0o666)
    script = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        's.sendall(b\'{"verb":"disks"}\\n\'); print(s.makefile().readline())'
    )
    out = subprocess.run(
        [shutil.which("python3", path="/usr/bin") or "/usr/bin/python3", "-c", script, str(served)],
        user=nobody.pw_uid,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(out.stdout) == {"reply": "failed", "text": "only the recorder may ask", "refused": True}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to capture")
def test_a_capture_is_a_pcap_of_the_interface(served: Path) -> None:
    def ask(request: helper.Request) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(served))
        connection.sendall(helper.encode(request))
        return connection

    with (
        ask(helper.Capture(interface="nosuch0", seconds=1, max_bytes=4096)) as connection,
        connection.makefile("rb") as file,
    ):
        reply = helper.decode_reply(file.readline())
        assert isinstance(reply, helper.Failed) and reply.refused
    with (
        ask(helper.Capture(interface="lo", seconds=2, max_bytes=4096)) as connection,
        connection.makefile("rb") as file,
    ):
        assert isinstance(helper.decode_reply(file.readline()), helper.Done)
        head = file.read(24)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(40):
                sender.sendto(b"x" * 300, ("127.0.0.1", 9))
        body = file.read()
    assert head[:4] == bytes.fromhex("d4c3b2a1")
    assert 0 < len(body) <= 4096 - 24


@pytest.mark.host
@pytest.mark.root
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-socket-activate") is None,
    reason="needs root and systemd-socket-activate",
)
def test_systemd_starts_the_helper_with_the_first_request(tmp_path: Path) -> None:
    path = tmp_path / "helper"
    command = [
        "systemd-socket-activate",
        f"--listen={path}",
        sys.executable,
        "-m",
        "recorderd.workers.helper",
        "--user=root",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    try:
        for _ in range(200):
            if path.exists():
                break
            time.sleep(0.02)

        async def main() -> None:
            disks = await HelperClient(path=str(path)).ask(helper.ListDisks(), helper.Disks, timeout_s=20)
            assert isinstance(disks.disks, list)
            with pytest.raises(HelperFailed, match="no disk"):
                await HelperClient(path=str(path)).ask(helper.Mount(device="/dev/sdzz"), helper.Done, timeout_s=20)

        asyncio.run(main())
    finally:
        process.terminate()
        process.wait(timeout=20)
