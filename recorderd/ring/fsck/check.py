"""The whole check of a mounted ring, live or opened for the check alone."""

from __future__ import annotations

from recorderd.ring.device import FormatDevice
from recorderd.ring.fsck.files import check_checkpoints, check_files
from recorderd.ring.fsck.findings import Progress, Report, Severity, no_progress
from recorderd.ring.fsck.heads import check_heads
from recorderd.ring.fsck.slots import check_slot, show_slot
from recorderd.ring.fsck.tables import check_tables, unshown_slots
from recorderd.ring.layout import SlotState
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.store import Rebuild, Store


async def check_ring(
    store: Store, ledger: RingLedger, *, deep: bool = False, repair: bool = False, progress: Progress = no_progress
) -> Report:
    """Checks every invariant; with `deep` every byte of media against its checksum. Repairs what it can when asked to.

    Runs beside recording: slots that are open are left to recovery and to the commits that fill them. Raises OSError when the disk goes.
    """
    report = Report()
    for fault in store.faults:
        report.add(Severity.NOTICE, "", "opening", fault)
    if store.rebuild is not None:
        _say_what_is_lost(store.rebuild, report)
    device = store.io.device
    if hasattr(device, "names"):
        folder: FormatDevice = device  # type: ignore[assignment]  # every device that can list its folder is one that can format it
        await check_files(store.io, folder, store.identity, report)
    check_tables(store, ledger, report, repair=repair)
    for ref in unshown_slots(store, ledger):
        done = await show_slot(store, ref) if repair else ""
        report.add(Severity.WARNING, "I10", f"slot {ref.slot}", "holds media that no timeline shows", done)
    slots = store.table.in_state(SlotState.CLOSED)
    heads = []
    for number, slot in enumerate(slots):
        head = await check_slot(store, ledger, slot, report, deep=deep, repair=repair)
        if head is not None:
            heads.append(head)
        progress(number + 1, len(slots))
    await check_heads(store, ledger, heads, report, repair=repair)
    bad = store.table.count(SlotState.BAD)
    if bad:
        report.add(Severity.NOTICE, "", "slots", f"{bad} slots are bad and not used any more")
    if store.unscanned:
        report.add(
            Severity.NOTICE,
            "I1",
            "slots",
            f"{len(store.unscanned)} slots that a crash left open are still to be scanned",
        )
    await check_checkpoints(store, report, repair=repair)
    return report


def _say_what_is_lost(rebuild: Rebuild, report: Report) -> None:
    for loss in rebuild.losses:
        report.add(Severity.WARNING, "I10", "rebuilt tables", loss)
    told = f"{rebuild.told} slots told what they hold" if rebuild.done else rebuild.words()
    report.add(Severity.NOTICE, "I10", "rebuilt tables", told)
    lost = "gaps, retention floors and the trust of clocks are known as of when each slot's side block was last written"
    report.add(Severity.NOTICE, "I10", "rebuilt tables", lost)
