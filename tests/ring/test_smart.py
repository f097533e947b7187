"""What smartctl says, as its JSON is documented (smartmontools 7) and as it really answers, and what eMMC says in sysfs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorderd.protocol import helper
from recorderd.ring.disks.health import Health, judge
from recorderd.workers.helper import inventory
from recorderd.workers.helper.configuration import read_configuration
from recorderd.workers.helper.verbs import Rules, read_health
from tests.peers.disk_image import needs_loop_devices
from tests.ring.test_disk_health import disk


def ata(table: list[dict[str, object]], *, passed: bool = True, hours: int = 8760) -> dict[str, object]:
    """The keys of `smartctl --json --all` for a SATA disk that this recorder reads, among some that it does not."""
    return {
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 3], "exit_status": 0 if passed else 8},
        "device": {"name": "/dev/sda", "info_name": "/dev/sda [SAT]", "type": "sat", "protocol": "ATA"},
        "model_name": "Disk 4000",
        "rotation_rate": 5400,
        "smart_status": {"passed": passed},
        "ata_smart_attributes": {"revision": 16, "table": table},
        "power_on_time": {"hours": hours},
        "power_cycle_count": 31,
        "temperature": {"current": 41},
        "ata_smart_error_log": {"summary": {"revision": 1, "count": 0}},
    }


def attribute(number: int, name: str, value: int, raw: int, thresh: int = 0) -> dict[str, object]:
    return {
        "id": number,
        "name": name,
        "value": value,
        "worst": value,
        "thresh": thresh,
        "when_failed": "",
        "flags": {"value": 51, "string": "PO--CK ", "prefailure": True},
        "raw": {"value": raw, "string": str(raw)},
    }


def nvme(**log: int) -> dict[str, object]:
    return {
        "smartctl": {"version": [7, 3], "exit_status": 0},
        "device": {"name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"},
        "smart_status": {"passed": True, "nvme": {"value": 0}},
        "nvme_smart_health_information_log": {
            "critical_warning": 0,
            "temperature": 44,
            "available_spare": 100,
            "available_spare_threshold": 10,
            "percentage_used": 2,
            "data_units_written": 1_000_000,
            "power_on_hours": 2400,
            "media_errors": 0,
            **log,
        },
        "temperature": {"current": 44},
        "power_on_time": {"hours": 2400},
    }


def short(found: Health) -> tuple[str, int | None, int | None, int | None]:
    return found.verdict, found.bad_sectors, found.life_used_percent, found.temperature_c


def test_ata() -> None:
    sound = ata([attribute(5, "Reallocated_Sector_Ct", 200, 0, 140), attribute(197, "Current_Pending_Sector", 200, 0)])
    assert short(judge(disk(), sound, "")) == ("good", 0, None, 41)
    pending = ata(
        [attribute(5, "Reallocated_Sector_Ct", 199, 8, 140), attribute(197, "Current_Pending_Sector", 200, 2)]
    )
    assert short(judge(disk(), pending, "")) == ("failing", 10, None, 41)
    solid = ata([attribute(5, "Reallocated_Sector_Ct", 100, 0), attribute(231, "SSD_Life_Left", 75, 75)])
    found = judge(disk(rotational=False), solid, "")
    assert short(found) == ("good", 0, 25, 41)
    assert found.life_left_days == 1095
    assert judge(disk(), ata([], passed=False), "").verdict == "failing"


def test_nvme() -> None:
    nothing = disk(device="/dev/nvme0n1", rotational=False, transport="nvme")
    assert short(judge(nothing, nvme(), "")) == ("good", 0, 2, 44)
    assert short(judge(nothing, nvme(media_errors=3), "")) == ("failing", 3, 2, 44)
    assert judge(nothing, nvme(percentage_used=101), "").verdict == "worn"
    spare = judge(nothing, nvme(available_spare=9), "")
    assert (spare.verdict, spare.words[0]) == ("worn", "its spare blocks run out")


@pytest.mark.parametrize(
    ("registers", "verdict", "life"),
    [
        ({"life_time": "0x02 0x01\n", "pre_eol_info": "0x01\n"}, "good", 20),
        ({"life_time": "0x0b 0x01\n", "pre_eol_info": "0x01\n"}, "worn", 110),
        ({"life_time": "0x03 0x03\n", "pre_eol_info": "0x02\n"}, "worn", 30),
        ({"life_time": "0x09 0x02\n", "pre_eol_info": "0x03\n"}, "failing", 90),
        ({}, "unknown", None),
    ],
)
def test_emmc_through_sysfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registers: dict[str, str], verdict: str, life: int | None
) -> None:
    device = tmp_path / "mmcblk7" / "device"
    device.mkdir(parents=True)
    for name, text in registers.items():
        (device / name).write_text(text)
    monkeypatch.setattr(inventory, "_SYS", tmp_path)
    entry = {"name": "mmcblk7", "path": "/dev/mmcblk7", "type": "disk", "size": 1 << 35, "model": None}
    found = inventory._disk(entry | {"serial": "0x1", "rota": False, "rm": False, "tran": "mmc"})
    health = judge(found, None, "smartctl is not installed")
    assert (health.verdict, health.life_used_percent) == (verdict, life)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=True)
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.root
@needs_loop_devices
@pytest.mark.skipif(shutil.which("smartctl") is None, reason="smartctl (smartmontools) is not installed")
def test_what_smartctl_really_says_of_a_disk_without_smart(tmp_path: Path, loop: str) -> None:
    rules = Rules((), tmp_path / "ring", tmp_path / "objects", 0, 0)
    said = read_health(rules, helper.ReadHealth(device=loop))
    answer = helper.decode_reply(helper.encode(said))  # as the daemon hears it
    assert isinstance(answer, helper.Health)
    smart = json.loads(bytes(answer.smart))
    assert smart is not None, said.detail
    assert smart["json_format_version"][0] == 1
    for transport, believed in (("sata", True), ("usb", False)):
        health = judge(disk(device=loop, transport=transport), smart, said.detail)
        assert health.verdict == "unknown", "JSON that tells nothing of the disk is no good health"
        assert health.power_cut_bound is believed
    assert any("Unable to detect device type" in word for word in health.words)


def test_the_board_says_which_disks_are_for_recordings(tmp_path: Path) -> None:
    config = tmp_path / "recorderd.toml"
    config.write_text('[recorder]\nboard = "exaviz-cruiser"\n[disk]\npath = "/mnt/ring"\n')
    found = read_configuration(config)
    assert (str(found.ring), found.disks) == ("/mnt/ring", ("/dev/sd*", "/dev/nvme*"))
    config.write_text('[recorder]\nboard = "sim-8port"\n')
    assert read_configuration(config).disks == ()
    config.write_text("[recorder]\nboard = 5\n")
    assert (str(read_configuration(config).ring), read_configuration(config).disks) == ("/srv/recorderd", ())
    assert read_configuration(tmp_path / "none.toml").disks == ()
