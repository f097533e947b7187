"""What goes on beside the commits of a mounted ring: the watch over slow calls, checkpoints, the scan of slots that a crash left open."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from recorderd.model.ports import Clock
from recorderd.ring.disk_memory import DiskMemory
from recorderd.ring.layout import SlotState
from recorderd.ring.scan import close_unreadable, scan_open_slot
from recorderd.ring.stocktaking import LetCommit, take_stock
from recorderd.ring.store import Store

log = logging.getLogger(__name__)

_REMEMBER_EVERY_S: Final = 60.0


async def watch(store: Store, clock: Clock, name: str, tell: Callable[[float], None]) -> None:
    """`tell` hears the age of the disk's oldest call once a second: slow or dead? The calls of a dead one are abandoned."""
    while True:
        await clock.sleep(1.0)
        oldest_s = store.io.calls.oldest_s()
        if oldest_s > store.profile.stuck_after_s:
            log.error("%s: a disk call has not returned for %.0f s: given up", name, oldest_s)
            held = set(store.table.in_state(SlotState.OPEN, SlotState.RESERVED))
            store.quarantine.update(held.difference(store.table.to_adopt()))
            store.io.calls.abandon()
            return
        tell(oldest_s)


async def write_checkpoints(store: Store, clock: Clock, name: str, retry_s: float) -> None:
    """Writes every snapshot that a commit offers."""
    while True:
        await store.snapshot_ready.wait()
        try:
            await store.write_checkpoint()
        except OSError as error:
            log.error("%s: a checkpoint could not be written: %s", name, error)
            await clock.sleep(retry_s)


async def remember(store: Store, memory: DiskMemory, clock: Clock, name: str) -> None:
    """Notes apart from the disk how far its checkpoints have come: at most once a minute, as the system's flash wears."""
    noted, said = 0, False
    while True:
        sequence = store.checkpoints.sequence
        if sequence != noted:
            try:
                await memory.note(store.disk_id, sequence)
                noted, said = sequence, False
            except OSError as error:
                if not said:
                    log.warning(
                        "%s: %s cannot be written (an older copy would be taken for the disk): %s",
                        name,
                        memory.where,
                        error,
                    )
                said = True
        await clock.sleep(_REMEMBER_EVERY_S)


async def look_at_old_slots(store: Store, let_commit: LetCommit, commit_soon: Callable[[], None], name: str) -> None:
    """Finds out what slots hold that a crash left open, and all of them when the tables are lost, while recording already goes on."""
    await _scan(store, commit_soon, name)
    try:
        await take_stock(store, let_commit, name)
    except OSError as error:  # the disk's fault: the next mount goes on
        log.error("%s: the tables are not made anew yet: %s", name, error)


async def _scan(store: Store, commit_soon: Callable[[], None], name: str) -> None:
    adopted = set(store.table.to_adopt())  # `take_stock` tells of these
    for slot in sorted(store.unscanned.keys() - adopted):
        try:
            await scan_open_slot(store, slot)
        except OSError as error:
            if not await store.disk_answers():
                return  # the disk's fault, not the slot's: the next mount scans again
            log.error("%s: slot %d cannot be read, it keeps what the journal says: %s", name, slot, error)
            store.statistics.write_errors += 1
            close_unreadable(store, slot)
        commit_soon()
