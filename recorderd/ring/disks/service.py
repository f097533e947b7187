"""The disks as a service: what is there, preparing, mounting and letting go of one, health, and the check of the ring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from recorderd.model.ports import Clock
from recorderd.protocol import helper
from recorderd.ring.checkpoints import CheckpointTooLarge
from recorderd.ring.device import FileDevice, UnsafeFile
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.disks import health
from recorderd.ring.disks.helper_client import HelperClient, HelperFailed
from recorderd.ring.disks.jobs import Job, JobRunner
from recorderd.ring.disks.written import Written
from recorderd.ring.formatting import FormatRefused, format_ring
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.fsck.findings import Report
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.profiles import HDD, SD, SSD, Profile
from recorderd.ring.ring import Ring

_MKFS_S = 1800.0
_CHECK_S = 7 * 3600.0
_TIMEOUT_S = {True: 60, False: 30}  # by rotational: a disk that spins up takes longer to answer


class NotPossible(Exception):
    """What is asked for cannot be done now; the text says why and what would help."""


def profile_of(disk: helper.Disk) -> Profile:
    """What suits the medium: a memory card has no life registers, eMMC has (JESD84-B51)."""
    if disk.device.startswith("/dev/mmcblk"):
        return SD if disk.life_used_percent is None else SSD
    return HDD if disk.rotational else SSD


class StorageService:
    """`run` does the long work; the other methods may be called at any time."""

    def __init__(
        self,
        *,
        ring: Ring,
        ledger: RingLedger,
        helper: HelperClient,
        clock: Clock,
        folder: Path,
        durability: str,
        writers: int,
        profile: Profile | None = None,
    ) -> None:
        """`folder` is where the ring is mounted; a new ring has room for `writers` streams. `profile` None: by the kind of disk."""
        self._ring = ring
        self._ledger = ledger
        self._helper = helper
        self._clock = clock
        self._folder = folder
        self._durability = durability
        self._writers = writers
        self._profile = profile
        self._written = Written()
        self._jobs = JobRunner((HelperFailed, FormatRefused, NotPossible, OSError, UnsafeFile, CheckpointTooLarge))
        self.last_report: Report | None = None

    async def run(self) -> None:
        await self._jobs.run()

    async def disks(self) -> list[helper.Disk]:
        """Raises HelperFailed."""
        return (await self._helper.ask(helper.ListDisks(), helper.Disks)).disks

    def is_ring(self, disk: helper.Disk) -> bool:
        """Whether the recorder's ring is mounted from this disk."""
        return any(part.mounted_at == str(self._folder) for part in disk.parts)

    async def disk(self, device: str) -> helper.Disk:
        """Raises NotPossible, HelperFailed."""
        for disk in await self.disks():
            if disk.device == device:
                return disk
        raise NotPossible(f"there is no disk {device}")

    # --- long work --------------------------------------------------------------------------------------------

    def format(self, disk: helper.Disk, file_system: Literal["ext4", "xfs"], objects_bytes: int) -> Job:
        """Erases the disk and makes a ring on it. Raises Busy, NotPossible."""
        if self._ring.store is not None:
            raise NotPossible("a ring is in use: unmount it first")
        request = helper.MakeFileSystem(
            device=disk.device, holds=disk.holds, kind=file_system, objects_bytes=objects_bytes
        )

        async def work(job: Job) -> None:
            await self._ring.eject()  # it must not look for a ring in a folder that is only half of one
            try:
                await self._helper.ask(request, helper.Made, tell=job.tell, timeout_s=_MKFS_S)
                await self._helper.ask(helper.Mount(device=disk.device), helper.Done)
                job.tell("allocating the ring")
                await self._format_ring(self._profile or profile_of(disk), job)
                await self._set_timeout(disk)
            finally:
                self._ring.insert()

        return self._jobs.start(f"formatting {disk.device}", work)

    def needs_restart(self) -> bool:
        """Whether the recorder still waits for the ring it used before and will not take another one."""
        return self._ring.store is None and self._ring.remembers

    async def _format_ring(self, profile: Profile, job: Job) -> None:
        calls = DiskThreads(clock=self._clock, name="format")
        try:
            device = await calls.run(FileDevice, self._folder, durability=self._durability)
            try:
                await format_ring(
                    device,
                    calls,
                    formatted_ns=self._clock.realtime_ns(),
                    writers=self._writers,
                    profile=profile,
                    durability=self._durability,
                    progress=job.count,
                )
            finally:
                await calls.run(device.release)
        finally:
            calls.close()

    def check_file_system(self, device: str, *, repair: bool) -> Job:
        """Raises Busy. The job's text is the tool's own words at the end."""

        async def work(job: Job) -> None:
            request = helper.CheckFileSystem(device=device, repair=repair)
            done = await self._helper.ask(request, helper.Checked, tell=job.tell, timeout_s=_CHECK_S)
            job.tell(done.output)
            if not done.clean:
                raise NotPossible("the file system has faults" + ("" if repair else "; --repair mends them"))

        return self._jobs.start(f"checking {device}", work)

    def fsck(self, *, deep: bool, repair: bool) -> Job:
        """Checks the ring in use; `last_report` has the findings afterwards. Raises Busy, NotPossible."""
        store = self._ring.store
        if store is None:
            raise NotPossible("no ring is in use")

        async def work(job: Job) -> None:
            self.last_report = None
            self.last_report = await check_ring(store, self._ledger, deep=deep, repair=repair, progress=job.count)
            if repair:
                self._ring.commit_soon()

        return self._jobs.start("checking the ring", work)

    # --- at once ----------------------------------------------------------------------------------------------

    async def mount(self, device: str) -> None:
        """Raises HelperFailed, NotPossible."""
        disk = await self.disk(device)
        await self._helper.ask(helper.Mount(device=device), helper.Done)
        await self._set_timeout(disk)
        self._ring.insert()

    async def unmount(self, device: str) -> None:
        """Raises HelperFailed: the ring is used on then."""
        disk = await self.disk(device)
        if not self.is_ring(disk):
            await self._helper.ask(helper.Unmount(device=device), helper.Done)
            return
        await self._ring.eject()
        try:
            await self._helper.ask(helper.Unmount(device=device), helper.Done)
        finally:
            self._ring.insert()  # looks for a ring again: finds this one when it could not be unmounted, else the next one

    async def _set_timeout(self, disk: helper.Disk) -> None:
        if disk.timeout_s is None:
            return
        request = helper.SetTimeout(device=disk.device, seconds=_TIMEOUT_S[disk.rotational])
        await self._helper.ask(request, helper.Done)

    async def health(self, device: str) -> tuple[health.Health, int | None]:
        """What the disk says of itself, and bytes written per day when it holds the ring. Raises HelperFailed, NotPossible."""
        disk = await self.disk(device)
        said = await self._helper.ask(helper.ReadHealth(device=device), helper.Health)
        decoded: object = json.loads(bytes(said.smart))
        smart: dict[str, Any] | None = decoded if isinstance(decoded, dict) else None
        return health.judge(disk, smart, said.detail), self.bytes_per_day() if self.is_ring(disk) else None

    def bytes_per_day(self) -> int | None:
        """Written to the ring, by the newest day; None until there is something to judge by. Call it about once a minute."""
        store = self._ring.store
        if store is None:
            return None
        now, total = self._clock.boottime_ns(), store.statistics.written_bytes
        self._written.note(now, total)
        return self._written.per_day(now, total)
