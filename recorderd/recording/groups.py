"""What can be asked of recording groups (VAPIX). Every change is durable when its call returns."""

from __future__ import annotations

from recorderd.model.group import GroupSettings, RecordingGroup
from recorderd.model.job import EventFilter, RecordingJob
from recorderd.model.limits import Limits
from recorderd.recording.deletions import Deletions
from recorderd.recording.media import StoredMedia
from recorderd.recording.rules import groups, recordings
from recorderd.recording.sources import Sources
from recorderd.recording.transactions import Transactions


class Groups:
    """Every refusal is a `model.faults.Fault`."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        media: StoredMedia,
        deletions: Deletions,
        sources: Sources,
        limits: Limits,
    ) -> None:
        self._transactions = transactions
        self._media = media
        self._deletions = deletions
        self._sources = sources
        self._limits = limits

    def list_groups(self) -> list[RecordingGroup]:
        return list(self._transactions.read().groups)

    def get_group(self, group: str) -> RecordingGroup:
        return groups.get(self._transactions.read(), group)

    async def create_group(self, group: str, settings: GroupSettings) -> RecordingGroup:
        return await self._transactions.run(lambda d: groups.create(d, self._limits, group, settings))

    async def update_group(self, group: str, settings: GroupSettings) -> RecordingGroup:
        return await self._transactions.run(lambda d: groups.update(d, self._limits, group, settings))

    async def set_group_active(self, group: str, active: bool, event_filter: EventFilter | None = None) -> RecordingJob:
        return await self._transactions.run(lambda d: groups.set_active(d, group, active, event_filter))

    async def delete_group(self, group: str) -> None:
        """With its recordings; refused while data of them is locked."""
        draft = self._transactions.read()
        recording = recordings.get(draft, groups.get(draft, group).recording)
        self._media.refuse_locked(recording.id)
        await self._transactions.run(lambda d: groups.delete(d, group))
        await self._deletions.take_up()

    def warnings(self, group: RecordingGroup) -> list[str]:
        """What does not fit of the pre-buffer that a group's job listens with as soon as it is started on events."""
        if not group.receiver or not group.pre_duration_ms:
            return []
        return self._sources.prebuffer_warnings([group.receiver], group.pre_duration_ms / 1000)
