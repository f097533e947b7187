"""Checks the files of a ring themselves: that they are those that format made (I6) and that both checkpoints are sound (I8)."""

from __future__ import annotations

from recorderd.model.disk_files import CONFIGURATION_BYTES, CONFIGURATIONS
from recorderd.ring.checkpoints import CheckpointFiles, CheckpointTooLarge
from recorderd.ring.device import FormatDevice, UnsafeFile
from recorderd.ring.disk_threads import DiskClosed, DiskStuck
from recorderd.ring.files import (
    CATALOGUES,
    CHECKPOINTS,
    HISTORIES,
    IDENTITY,
    IDENTITY_BYTES,
    JOURNAL,
    SLOTS,
    SLOTS_PER_FOLDER,
    close_file,
    open_file,
    read_bytes,
    slot_folder,
    slot_path,
    write_bytes,
)
from recorderd.ring.formatting import history_bytes_for
from recorderd.ring.fsck.findings import Report, Severity
from recorderd.ring.layout import BLOCK, CorruptStructure, DiskIdentity
from recorderd.ring.slot_writing import Io
from recorderd.ring.store import Store


async def check_files(io: Io, device: FormatDevice, identity: DiskIdentity, report: Report) -> None:
    """Every file there, of its size, and nothing else in the folder."""
    expected = {IDENTITY, JOURNAL, SLOTS, *CHECKPOINTS, *CATALOGUES, *HISTORIES, *CONFIGURATIONS}
    present = set(await io.calls.run(device.names, ""))
    for name in sorted(present - expected - {"lost+found"}):
        report.add(Severity.NOTICE, "I6", name, "is not the ring's: it takes room, the ring ignores it")
    sizes = {JOURNAL: identity.journal_blocks * BLOCK, IDENTITY: IDENTITY_BYTES}
    sizes |= dict.fromkeys(CHECKPOINTS, identity.checkpoint_bytes) | dict.fromkeys(CATALOGUES, identity.catalogue_bytes)
    sizes |= dict.fromkeys(HISTORIES, history_bytes_for(identity.slots * identity.slot_bytes))
    sizes |= dict.fromkeys(CONFIGURATIONS, CONFIGURATION_BYTES)
    for name, size in sizes.items():
        await _check_file(io, name, size, report)
    for folder in range((identity.slots + SLOTS_PER_FOLDER - 1) // SLOTS_PER_FOLDER):
        first = folder * SLOTS_PER_FOLDER
        wanted = {
            slot_path(slot).rpartition("/")[2] for slot in range(first, min(first + SLOTS_PER_FOLDER, identity.slots))
        }
        try:
            names = set(await io.calls.run(device.names, slot_folder(first)))
        except (DiskClosed, DiskStuck):
            raise
        except OSError as error:
            report.add(Severity.ERROR, "I6", slot_folder(first), f"cannot be listed: {error.strerror or error}")
            continue
        for name in sorted(wanted - names):
            report.add(Severity.ERROR, "I6", f"{slot_folder(first)}/{name}", "is missing")
        for name in sorted(names - wanted):
            report.add(Severity.NOTICE, "I6", f"{slot_folder(first)}/{name}", "is not the ring's")


async def _check_file(io: Io, name: str, size: int, report: Report) -> None:
    try:
        handle = await open_file(io.device, io.calls, name, writable=False, size=size)
    except FileNotFoundError:
        report.add(Severity.ERROR, "I6", name, "is missing")
    except UnsafeFile as error:
        report.add(Severity.ERROR, "I6", name, str(error))
    except (DiskClosed, DiskStuck):
        raise
    except OSError as error:
        report.add(Severity.ERROR, "I6", name, f"cannot be opened: {error.strerror or error}")
    else:
        await close_file(io.device, io.calls, handle)


async def check_checkpoints(store: Store, report: Report, *, repair: bool) -> None:
    """I8, and the copies of the identity and of the catalogue. A repair writes both checkpoints anew from the state in RAM."""
    io, identity = store.io, store.identity
    fresh = CheckpointFiles(io.device, io.calls, io.buffers, identity.disk_id, identity.checkpoint_bytes)
    async with store.checkpoint_lock:
        valid, faults = await fresh.load()
    _, catalogue_faults = await store.catalogue.read()
    done = ""
    if (faults or catalogue_faults) and repair:
        done = await _write_both(store)
    if not valid:
        report.add(Severity.ERROR, "I8", "checkpoints", "neither can be read: " + "; ".join(faults), done)
    else:
        for fault in faults:
            report.add(Severity.WARNING, "I8", "checkpoints", f"{fault} (the other one is good)", done)
    for fault in catalogue_faults:
        report.add(Severity.WARNING, "I10", "catalogue", fault, done)
    await _check_identity(store, report, repair=repair)


async def _check_identity(store: Store, report: Report, *, repair: bool) -> None:
    io = store.io
    handle = await open_file(io.device, io.calls, IDENTITY, writable=repair, size=IDENTITY_BYTES)
    try:
        data = await read_bytes(io.device, io.calls, io.buffers, handle, 0, IDENTITY_BYTES)
        for copy, at in (("first", 0), ("second", BLOCK)):
            try:
                DiskIdentity.unpack(data[at : at + BLOCK])
            except CorruptStructure as error:
                done = ""
                if repair:
                    await write_bytes(io.device, io.calls, io.buffers, handle, at, store.identity.pack())
                    await io.calls.run(io.device.datasync, handle)
                    done = "written anew"
                report.add(Severity.WARNING, "I8", IDENTITY, f"its {copy} copy is damaged: {error}", done)
    finally:
        await close_file(io.device, io.calls, handle)


async def _write_both(store: Store) -> str:
    if store.ledger.has_items() or store.corrections:
        return ""  # what is queued must reach the journal before a snapshot may claim it; the next check repairs
    for _ in CHECKPOINTS:
        store.catalogue.distrust()
        store.offer_snapshot(store.take_snapshot(store.journal.sequence))
        try:
            await store.write_checkpoint()
        except (OSError, CheckpointTooLarge) as error:
            return f"could not be written anew: {error}"
    return "both copies written anew"
