"""`python -m recorderd.workers.fsck FOLDER`: checks a ring that no recorder uses; what `recorderctl fsck --path` runs."""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from pathlib import Path

import msgspec

from recorderd.model.clock import SystemClock
from recorderd.model.timeline import Trust
from recorderd.ring.device import UnsafeFile
from recorderd.ring.fsck.check import check_ring
from recorderd.ring.fsck.findings import Finding, Report
from recorderd.ring.layout import UnknownFeature
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.recovery import NotARing
from recorderd.ring.ring import Ring

CLEAN, FAULTS, IMPOSSIBLE = 0, 1, 2


async def check(folder: Path, *, deep: bool, repair: bool, may_rebuild: bool, durability: str = "direct") -> Report:
    """Opens the ring as a recorder would (which recovers it from a crash), checks it, and closes it in good order.

    Raises NotARing, UnknownFeature, UnsafeFile, OSError; NotARing also says when the tables are lost and may not be rebuilt.
    """
    clock = SystemClock(lambda: Trust.RTC)
    boot_id = _boot_id()
    ledger = RingLedger(clock=clock)
    ring = Ring.at(
        folder,
        ledger=ledger,
        clock=clock,
        boot_id=boot_id,
        durability=durability,
        rebuild_after_s=0.0 if may_rebuild else None,
    )
    await ring.mount()
    store = ring.store
    if store is None:
        raise NotARing(ring.status().detail)
    try:
        await ring.scan_now()
        await ring.tick()
        report = await check_ring(store, ledger, deep=deep, repair=repair, progress=_progress)
        await ring.tick()
    finally:
        await ring.close()
    return report


def _boot_id() -> uuid.UUID:
    return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r\x1b[K{done} of {total} slots", end=end, file=sys.stderr, flush=True)


def show(finding: Finding) -> str:
    done = f" ({finding.repaired})" if finding.repaired else ""
    return f"{finding.severity}{f' {finding.invariant}' if finding.invariant else ''} {finding.subject}: {finding.text}{done}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="recorderd-fsck", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--durability", choices=("direct", "none"), default="direct", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    try:
        report = asyncio.run(
            check(
                chosen.folder,
                deep=chosen.deep,
                repair=chosen.repair,
                may_rebuild=chosen.rebuild,
                durability=chosen.durability,
            )
        )
    except (NotARing, UnknownFeature, UnsafeFile, OSError) as error:
        print(f"recorderd-fsck: {chosen.folder}: {error}", file=sys.stderr)
        return IMPOSSIBLE
    if chosen.json:
        print(
            msgspec.json.encode(
                {"clean": report.clean, "verdict": report.verdict(), "findings": report.findings}
            ).decode()
        )
    else:
        for finding in report.findings:
            print(show(finding))
        print(report.verdict())
    return CLEAN if report.clean else FAULTS


if __name__ == "__main__":
    sys.exit(main())
