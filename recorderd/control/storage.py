"""The face of `io.recorderd.Storage`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from recorderd.control.dispatch import Dispatch, Last
from recorderd.control.peer import Peer
from recorderd.protocol import helper, storage
from recorderd.protocol.errors import ConfirmationNeeded, Conflict, InvalidArgument, Unavailable
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable
from recorderd.ring.disks.helper_client import HelperFailed
from recorderd.ring.disks.jobs import Busy, Job
from recorderd.ring.disks.service import NotPossible, StorageService
from recorderd.ring.fsck.findings import Report

_GIB = 1 << 30


class StorageFace:
    def __init__(self, *, service: StorageService) -> None:
        self._service = service

    def bind(self, table: Dispatch) -> None:
        table.reply(storage.LIST_DISKS, self._list)
        table.stream(storage.FORMAT_DISK, self._format)
        table.reply(storage.MOUNT_DISK, self._mount)
        table.reply(storage.UNMOUNT_DISK, self._unmount)
        table.stream(storage.CHECK_DISK, self._check)
        table.reply(storage.GET_HEALTH, self._health)
        table.stream(storage.FSCK, self._fsck)

    async def _list(self, _call: Nothing, _: Peer) -> storage.DiskList:
        try:
            disks = await self._service.disks()
        except HelperFailed as failed:
            raise Unavailable(str(failed)) from failed
        return storage.DiskList(disks=[self._disk(disk) for disk in disks])

    def _disk(self, disk: helper.Disk) -> storage.Disk:
        return storage.Disk(
            device=disk.device,
            model=disk.model,
            serial=disk.serial,
            size_bytes=disk.size_bytes,
            rotational=disk.rotational,
            removable=disk.removable,
            transport=disk.transport,
            system=disk.system,
            ring=self._service.is_ring(disk),
            holds=disk.holds,
            parts=[
                storage.Part(
                    device=part.device,
                    size_bytes=part.size_bytes,
                    fs_kind=part.fs_kind,
                    label=part.label,
                    mounted_at=part.mounted_at,
                )
                for part in disk.parts
            ],
            timeout_s=disk.timeout_s,
            write_cache=disk.write_cache,
        )

    async def _format(
        self, call: storage.FormatCall, _: Peer
    ) -> AsyncIterator[storage.LongReply | Last[storage.LongReply]]:
        disk = await self._known(call.device)
        if not 0 <= call.objects_bytes < 1 << 53:
            raise InvalidArgument("objects_bytes", "0 or more", str(call.objects_bytes))
        if disk.system:
            raise Conflict(f"{disk.device} carries the running system")
        if disk.holds != call.holds:
            raise Conflict(f"{disk.device} holds {disk.holds}; the request says {printable(call.holds)}")
        if not call.confirm:
            model = printable(disk.model) or "unknown model"
            raise ConfirmationNeeded(
                f"Formatting erases {disk.device} ({model}, {disk.size_bytes / _GIB:.0f} GiB). It holds {printable(disk.holds)}."
            )
        job = self._started(lambda: self._service.format(disk, call.file_system, call.objects_bytes))

        def ready() -> str:
            if self._service.needs_restart():
                return f"{disk.device} is ready; restart recorderd to record to it instead of the ring used before"
            return f"{disk.device} is ready; recording starts by itself"

        async for progress, last in _follow(job, ready):
            yield Last(storage.LongReply(progress=progress)) if last else storage.LongReply(progress=progress)

    async def _mount(self, call: storage.DeviceCall, _: Peer) -> Nothing:
        await self._known(call.device)
        try:
            await self._service.mount(call.device)
        except (HelperFailed, NotPossible) as failed:
            raise Conflict(str(failed)) from failed
        return Nothing()

    async def _unmount(self, call: storage.UnmountCall, _: Peer) -> Nothing:
        disk = await self._known(call.device)
        if self._service.is_ring(disk) and not call.confirm:
            raise ConfirmationNeeded(f"Nothing is recorded while {disk.device} is unmounted.")
        try:
            await self._service.unmount(call.device)
        except (HelperFailed, NotPossible) as failed:
            raise Conflict(str(failed)) from failed
        return Nothing()

    async def _check(
        self, call: storage.CheckCall, _: Peer
    ) -> AsyncIterator[storage.LongReply | Last[storage.LongReply]]:
        disk = await self._known(call.device)
        if self._service.is_ring(disk):
            raise Conflict(f"{disk.device} is in use: unmount it first (a ring in use is checked by Fsck)")
        job = self._started(lambda: self._service.check_file_system(call.device, repair=call.repair))
        async for progress, last in _follow(job, lambda: "the file system is sound"):
            yield Last(storage.LongReply(progress=progress)) if last else storage.LongReply(progress=progress)

    async def _health(self, call: storage.DeviceCall, _: Peer) -> storage.Health:
        await self._known(call.device)
        try:
            found, per_day = await self._service.health(call.device)
        except (HelperFailed, NotPossible) as failed:
            raise Unavailable(str(failed)) from failed
        return storage.Health(
            verdict=found.verdict,
            words=list(found.words),
            temperature_c=found.temperature_c,
            power_on_hours=found.power_on_hours,
            bad_sectors=found.bad_sectors,
            life_used_percent=found.life_used_percent,
            life_left_days=found.life_left_days,
            power_cut_bound=found.power_cut_bound,
            bytes_per_day=per_day,
        )

    async def _fsck(
        self, call: storage.FsckCall, _: Peer
    ) -> AsyncIterator[storage.FsckReply | Last[storage.FsckReply]]:
        job = self._started(lambda: self._service.fsck(deep=call.deep, repair=call.repair))

        def verdict() -> str:
            report = self._service.last_report
            return "" if report is None else report.verdict()

        async for progress, last in _follow(job, verdict):
            if not last:
                yield storage.FsckReply(progress=progress, findings=[])
                continue
            report = self._service.last_report
            clean = progress.ok and report is not None and report.clean
            final = storage.Progress(
                text=progress.text,
                done=progress.done,
                total=progress.total,
                finished=True,
                ok=clean,
                result=progress.result,
            )
            yield Last(storage.FsckReply(progress=final, findings=_findings(report)))

    async def _known(self, device: str) -> helper.Disk:
        try:
            return await self._service.disk(device)
        except NotPossible:
            raise InvalidArgument("device", "a disk that ListDisks shows", printable(device)) from None
        except HelperFailed as failed:
            raise Unavailable(str(failed)) from failed

    @staticmethod
    def _started(start: Callable[[], Job]) -> Job:
        try:
            return start()
        except (Busy, NotPossible) as refused:
            raise Conflict(str(refused)) from refused


async def _follow(job: Job, success: Callable[[], str]) -> AsyncIterator[tuple[storage.Progress, bool]]:
    """(progress, whether it is the last) of a job."""
    async for _ in job.steps():
        ok = job.finished and job.failure is None
        yield (
            storage.Progress(
                text=printable(job.text, 4000),
                done=job.done,
                total=job.total,
                finished=job.finished,
                ok=ok,
                result=success() if ok else printable(job.failure or "", 1000),
            ),
            job.finished,
        )


def _findings(report: Report | None) -> list[storage.Finding]:
    return [
        storage.Finding(
            severity=finding.severity.value,
            invariant=finding.invariant,
            subject=printable(finding.subject),
            text=printable(finding.text, 1000),
            repaired=printable(finding.repaired),
        )
        for finding in (report.findings[: storage.MAX_FINDINGS] if report is not None else [])
    ]
