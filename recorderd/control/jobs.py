"""The face of `io.recorderd.Jobs`."""

from __future__ import annotations

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import Peer
from recorderd.control.refusals import page, refusing
from recorderd.model.job import JobMode, RecordingJob
from recorderd.protocol import jobs as protocol
from recorderd.protocol.message import Nothing
from recorderd.recording.service import RecordingService

PAGE = 64


def info(job: RecordingJob) -> protocol.JobInfo:
    return protocol.JobInfo(token=job.token, id=str(job.id), configuration=job.configuration)


class JobsFace:
    def __init__(self, *, service: RecordingService) -> None:
        self._service = service

    def bind(self, table: Dispatch) -> None:
        table.reply(protocol.LIST, refusing(self._list))
        table.reply(protocol.GET, refusing(self._get))
        table.reply(protocol.CREATE, refusing(self._create))
        table.reply(protocol.CONFIGURE, refusing(self._configure))
        table.reply(protocol.SET_MODE, refusing(self._set_mode))
        table.reply(protocol.DELETE, refusing(self._delete))
        table.reply(protocol.GET_STATE, refusing(self._get_state))

    async def _list(self, call: protocol.ListCall, _: Peer) -> protocol.ListReply:
        jobs, further = page(self._service.list_jobs(), lambda j: j.token, call.after, PAGE)
        return protocol.ListReply(jobs=[info(j) for j in jobs], next=further)

    async def _get(self, call: protocol.JobCall, _: Peer) -> protocol.JobReply:
        return protocol.JobReply(job=info(self._service.get_job(call.job)))

    async def _create(self, call: protocol.CreateCall, _: Peer) -> protocol.PutReply:
        return self._put(await self._service.create_job(call.configuration))

    async def _configure(self, call: protocol.ConfigureCall, _: Peer) -> protocol.PutReply:
        return self._put(await self._service.set_job(call.job, call.configuration))

    def _put(self, job: RecordingJob) -> protocol.PutReply:
        return protocol.PutReply(job=info(job), warnings=self._service.prebuffer_warnings(job.token))

    async def _set_mode(self, call: protocol.ModeCall, _: Peer) -> protocol.ModeReply:
        job = await self._service.set_job_mode(call.job, call.mode)
        active = job.configuration.mode is JobMode.ACTIVE
        return protocol.ModeReply(warnings=self._service.prebuffer_warnings(job.token) if active else [])

    async def _delete(self, call: protocol.JobCall, _: Peer) -> Nothing:
        await self._service.delete_job(call.job)
        return Nothing()

    async def _get_state(self, call: protocol.JobCall, _: Peer) -> protocol.StateReply:
        return protocol.StateReply(state=self._service.job_state(call.job))
