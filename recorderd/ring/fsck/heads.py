"""Heads of slots that are damaged, and their repair from another slot of the same writer.

Without its head a slot holds media that no player shows and nobody can assign. The writer's next slot, be it still open, names it as its
predecessor, and says who wrote both; `moov` is the same in all slots of a writer, and its checksum stands in the identity. Where no slot
follows (the writer's last one), or that one is lost too, `moov` has mostly survived the identity block: slots of the same recording with
the same `moov` tell, if the timeline knows the tracks of this one, and all of them name the same receiver and tracks. Else the head is
left alone: media of one camera must never be shown as another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recorderd.ring.border import SlotRef
from recorderd.ring.files import close_file, open_file, read_bytes, slot_path, write_bytes
from recorderd.ring.fsck.findings import Report, Severity
from recorderd.ring.layout import (
    BLOCK,
    MOOV_OFFSET,
    NO_SLOT,
    SIDX_ROOM,
    CorruptStructure,
    SlotIdentity,
    UnknownFeature,
    crc32,
    free_box,
)
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.scan import read_slot_identity, walk_fragments
from recorderd.ring.slot_writing import Io
from recorderd.ring.store import Store

_LEASE_S = 60.0


@dataclass(frozen=True, slots=True)
class SlotHead:
    """What a check found; `identity` None: damaged."""

    ref: SlotRef
    identity: SlotIdentity | None
    moov_good: bool = True


async def moov_is_good(io: Io, handle: int, identity: SlotIdentity) -> bool:
    """Against the checksum in the identity; slots of earlier versions have none. Raises OSError."""
    if not identity.moov_crc:
        return True
    return crc32(await read_bytes(io.device, io.calls, io.buffers, handle, MOOV_OFFSET, identity.moov_bytes)) == (
        identity.moov_crc
    )


async def check_heads(
    store: Store, ledger: RingLedger, heads: Sequence[SlotHead], report: Report, *, repair: bool
) -> None:
    """Says which heads are damaged, and writes them anew where another slot tells what stood there. Raises OSError."""
    sound = [head for head in heads if head.identity is not None and head.moov_good]
    if len(sound) < len(heads):
        sound += await _open_heads(store)
    following = {head.identity.previous: head for head in sound if head.identity is not None}
    by_moov = {_moov_of(head.identity): head for head in sound if head.identity is not None}
    for head in heads:
        if head.identity is None:
            text = "its identity block is damaged: players and export cannot use the slot"
            model = following.get(head.ref) or await _same_writer(store, ledger, head.ref, sound)
            if model is None:
                text += "; no other slot tells for certain whose it is"
        elif not head.moov_good:
            text = "the boxes that describe its tracks are damaged: players cannot use the slot"
            model = by_moov.get(_moov_of(head.identity))
        else:
            continue
        done = await _mend(store, head, model) if repair and model is not None else ""
        report.add(Severity.ERROR, "I2", f"slot {head.ref.slot}", text, done)


async def _open_heads(store: Store) -> list[SlotHead]:
    """Of the slots that are being written and have something durable. Raises OSError."""
    io, found = store.io, []
    for slot in [slot for slot in store.live.values() if slot.durable]:
        handle = await open_file(
            io.device, io.calls, slot_path(slot.ref.slot), writable=False, size=store.identity.slot_bytes
        )
        try:
            identity = await read_slot_identity(io, handle)
            if identity is not None and identity.ref == slot.ref and await moov_is_good(io, handle, identity):
                found.append(SlotHead(slot.ref, identity))
        finally:
            await close_file(io.device, io.calls, handle)
    return found


async def _same_writer(store: Store, ledger: RingLedger, ref: SlotRef, sound: Sequence[SlotHead]) -> SlotHead | None:
    """The newest slot of the writer of this one, whose identity is lost; None when that is not certain. Raises OSError."""
    io, disk = store.io, store.identity
    row = store.table.summary(ref.slot)
    alike = [(h, h.identity) for h in sound if h.identity is not None and h.identity.recording == row.recording]
    shown = ledger.tables.tracks_shown_of(*ref)
    handle = await open_file(io.device, io.calls, slot_path(ref.slot), writable=False, size=disk.slot_bytes)
    try:
        there: dict[tuple[int, int, int], bool] = {}
        for moov in {_moov_of(identity) for _, identity in alike if identity.moov_crc}:
            data = await read_bytes(io.device, io.calls, io.buffers, handle, MOOV_OFFSET, moov[1])
            there[moov] = crc32(data) == moov[0]
        alike = [(head, identity) for head, identity in alike if there.get(_moov_of(identity))]
        if not alike or not shown:
            return None
        start = alike[0][1].data_offset
        walk = await walk_fragments(io, handle, disk, ref, start, claimed=row.fragments, beyond=False)
    finally:
        await close_file(io.device, io.calls, handle)
    used = {part.track for record, _ in walk.good for part in record.parts}
    alike = [
        (head, identity)
        for head, identity in alike
        if identity.data_offset == start
        and max(used, default=0) < len(identity.tracks)
        and shown <= {identity.tracks[index].track for index in used}
    ]
    writers = {(i.receiver, tuple((t.track, t.codec, t.timescale) for t in i.tracks)) for _, i in alike}
    return max(alike, key=lambda pair: pair[0].ref.generation)[0] if len(writers) == 1 else None


def _moov_of(identity: SlotIdentity) -> tuple[int, int, int]:
    return identity.moov_crc, identity.moov_bytes, identity.data_offset


async def _mend(store: Store, head: SlotHead, model: SlotHead) -> str:
    """What was done; empty when it is not sure that both are of one writer, or the slot is gone."""
    assert model.identity is not None
    io, slot_bytes = store.io, store.identity.slot_bytes
    leases = [store.leases.take(each.ref, _LEASE_S) for each in (head, model)]
    try:
        source = await open_file(io.device, io.calls, slot_path(model.ref.slot), writable=False, size=slot_bytes)
        try:
            first = await read_bytes(io.device, io.calls, io.buffers, source, 0, BLOCK)
            moov = await read_bytes(io.device, io.calls, io.buffers, source, MOOV_OFFSET, model.identity.moov_bytes)
        finally:
            await close_file(io.device, io.calls, source)
        if model.identity.moov_crc not in (0, crc32(moov)) or not store.table.is_current(head.ref):
            return ""
        handle = await open_file(io.device, io.calls, slot_path(head.ref.slot), writable=True, size=slot_bytes)
        try:
            if head.identity is None:
                identity = await _identity_like(store, handle, head.ref, model.identity)
                if identity is None:
                    return ""
                ftyp = first[: int.from_bytes(first[:4], "big")]
                await write_bytes(io.device, io.calls, io.buffers, handle, 0, identity.pack_block(ftyp))
            room = model.identity.data_offset - SIDX_ROOM - MOOV_OFFSET - len(moov)
            await write_bytes(io.device, io.calls, io.buffers, handle, MOOV_OFFSET, moov + free_box(room))
            await io.calls.run(io.device.datasync, handle)
        finally:
            await close_file(io.device, io.calls, handle)
    finally:
        for lease in leases:
            store.leases.end(lease)
    return f"written anew from slot {model.ref.slot} of the same writer"


async def _identity_like(store: Store, handle: int, ref: SlotRef, model: SlotIdentity) -> SlotIdentity | None:
    """The identity that stood there: the model's, with what the table and the slot's first fragment say. None leaves the head alone."""
    io = store.io
    try:
        SlotIdentity.unpack_block(await read_bytes(io.device, io.calls, io.buffers, handle, 0, BLOCK))
    except UnknownFeature:
        return None  # sound, and of a later version
    except CorruptStructure:
        row = store.table.summary(ref.slot)
    else:
        return None
    walk = await walk_fragments(io, handle, store.identity, ref, model.data_offset, claimed=row.fragments, beyond=False)
    if not walk.good or row.recording != model.recording:
        return None
    record = walk.good[0][0]
    if any(part.track >= len(model.tracks) for part in record.parts):
        return None
    return replace(
        model,
        ref=ref,
        writer_serial=record.writer_serial,
        boot_id=row.boot_id,
        start_ns=row.from_ns,
        start_wall_ns=record.wall_ns,
        epoch=record.epoch,
        previous=NO_SLOT,
        previous_digest=bytes(32),
    )
