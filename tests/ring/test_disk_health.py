"""What a disk's own words mean, and what the recorder adds to them."""

from __future__ import annotations

import asyncio

import pytest

from recorderd.protocol.helper import Disk
from recorderd.ring.disks.health import judge
from recorderd.ring.disks.jobs import Busy, Job, JobRunner
from recorderd.ring.disks.written import Written
from recorderd.workers.helper.inventory import describe, emmc_life_used

GIB = 1 << 30
HOUR = 3_600_000_000_000


def disk(**more: object) -> Disk:
    fields: dict[str, object] = {
        "device": "/dev/sda",
        "size_bytes": 1000 * GIB,
        "rotational": True,
        "removable": False,
        "system": False,
        "holds": "nothing known",
        "parts": [],
        "write_cache": "write back",
        "transport": "sata",
    }
    return Disk(**(fields | more))  # type: ignore[arg-type]


def attribute(number: int, value: int, raw: int) -> dict[str, object]:
    return {"id": number, "value": value, "raw": {"value": raw}}


def test_a_sound_disk_is_good() -> None:
    smart = {
        "smart_status": {"passed": True},
        "temperature": {"current": 38},
        "power_on_time": {"hours": 1200},
        "ata_smart_attributes": {"table": [attribute(5, 100, 0), attribute(197, 100, 0)]},
    }
    found = judge(disk(), smart, "")
    assert (found.verdict, found.words, found.temperature_c, found.power_on_hours, found.bad_sectors) == (
        "good",
        (),
        38,
        1200,
        0,
    )
    assert found.power_cut_bound


def test_pending_sectors_and_its_own_verdict_make_it_failing() -> None:
    table = {"table": [attribute(5, 90, 16), attribute(197, 100, 3)]}
    found = judge(disk(), {"smart_status": {"passed": False}, "ata_smart_attributes": table}, "")
    assert (found.verdict, found.bad_sectors) == ("failing", 19)
    assert found.words == (
        "the disk itself says that it is failing: replace it now",
        "16 reallocated sectors",
        "3 pending sectors",
    )


def test_flash_is_judged_by_its_rated_writes() -> None:
    log = {
        "nvme_smart_health_information_log": {"percentage_used": 25, "media_errors": 0},
        "power_on_time": {"hours": 24 * 100},
    }
    found = judge(disk(rotational=False), log, "")
    assert (found.verdict, found.life_used_percent, found.life_left_days) == ("good", 25, 300)
    assert "another 300 days" in found.words[0]
    log["nvme_smart_health_information_log"]["percentage_used"] = 95
    assert judge(disk(rotational=False), log, "").verdict == "worn"
    emmc = disk(device="/dev/mmcblk0", rotational=False, life_used_percent=100)
    assert judge(emmc, None, "smartctl is not installed").verdict == "worn"


def test_a_usb_bridge_that_says_nothing_is_not_believed_to_flush() -> None:
    found = judge(disk(transport="usb"), None, "smartctl is not installed")
    assert (found.verdict, found.power_cut_bound) == ("unknown", False)
    assert found.words[0].startswith("power-cut bound not guaranteed")
    assert judge(disk(transport="usb", write_cache="write through"), None, "").power_cut_bound


@pytest.mark.parametrize(
    "nonsense",
    [{"temperature": 5}, {"ata_smart_attributes": {"table": [1, {"id": "x"}]}}, {"power_on_time": {"hours": True}}],
)
def test_nonsense_is_taken_for_nothing(nonsense: dict[str, object]) -> None:
    found = judge(disk(), nonsense, "")
    assert (found.temperature_c, found.power_on_hours) == (None, None)


@pytest.mark.parametrize(
    ("text", "used"), [("0x01 0x03", 30), ("0x0b 0x01", 110), ("", None), ("0x00 0x00", None), ("soon", None)]
)
def test_emmc_life(text: str, used: int | None) -> None:
    assert emmc_life_used(text) == used


def test_an_empty_disk_holds_nothing_known() -> None:
    assert describe([], has_table=False) == "nothing known"


def test_bytes_per_day_need_a_while_and_survive_a_new_mount() -> None:
    written = Written()
    written.note(0, 0)
    assert written.per_day(1, 5) is None
    for hour in range(1, 49):
        written.note(hour * HOUR, hour * GIB)
    assert written.per_day(48 * HOUR, 48 * GIB) == 24 * GIB
    written.note(49 * HOUR, 10)
    assert written.per_day(50 * HOUR, GIB + 10) == 24 * GIB


def test_one_job_at_a_time_and_a_failure_is_said() -> None:
    async def main() -> None:
        runner = JobRunner((OSError,))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(runner.run())

            async def good(job: Job) -> None:
                for step in range(3):
                    job.count(step, 3)
                    await asyncio.sleep(0)

            async def bad(job: Job) -> None:
                raise OSError("the disk is gone")

            job = runner.start("checking", good)
            with pytest.raises(Busy, match="checking is under way"):
                runner.start("formatting", good)
            steps = [(job.done, job.finished) async for _ in job.steps()]
            assert steps[-1] == (2, True) and job.failure is None
            job = runner.start("formatting", bad)
            assert [job.failure async for _ in job.steps()][-1] == "the disk is gone"
            task.cancel()

    asyncio.run(main())
