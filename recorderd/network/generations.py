"""The network's configurations on disk, and which of them is in force. Written so that a shell script can act on them.

    gen/17/            one configuration, complete and never changed after it was staged
        wish.json          what was wished; absent in the first one, which is what the machine had before us
        boot.ip boot.sysctl boot.table.json        sets it up on a machine just switched on
        undo.ip undo.sysctl undo.table.json        leads back from it to the one before
        units              units of ours it needs, one per line
        dnsmasq.conf chrony.conf ...               what those units read, through `active`
    confirmed -> gen/17    what holds after a reboot
    active -> gen/18       what the units read now
    pending                the change that awaits confirmation: boot id, deadline, former, new, token digest
    undoing                `pending` renamed by the guard while it restores

Invariants. `pending` is on disk before the first change and names a staged generation with its way back. A change is confirmed by taking
`pending` away and undone by renaming it: a rename decides between the two, once. Everything is fsynced before what relies on it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recorderd.durable import replace_file, sync_folder

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KEPT = 4  # staged generations that are kept for the operator to look at
PENDING_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Pending:
    """A change awaiting confirmation. Times are seconds of CLOCK_BOOTTIME, which is what /proc/uptime shows."""

    boot_id: str
    deadline_s: int
    changed_s: float
    former: int
    new: int
    token_digest: str

    def text(self) -> str:
        return "".join(
            f"{key} {value}\n"
            for key, value in (
                ("boot", self.boot_id),
                ("deadline", self.deadline_s),
                ("changed", f"{self.changed_s:.3f}"),
                ("former", self.former),
                ("new", self.new),
                ("token", self.token_digest),
            )
        )


class Damaged(Exception):
    """What is on disk is not what we write; one line."""


class Generations:
    """The folder above. Synchronous: a handful of small files per change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Makes the folder and generation 0, which stands for what the machine had before us. Idempotent."""
        (self.folder / "gen").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "gen" / "0").exists():
            self._write_generation(0, {"units": ""})

    def confirmed(self) -> int | None:
        """Number of the confirmed generation; None before the first."""
        return self._target("confirmed")

    def active(self) -> int | None:
        return self._target("active")

    def read(self, number: int, name: str) -> str | None:
        """A file of a generation; None where it has none."""
        try:
            return (self.folder / "gen" / str(number) / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def stage(self, files: Mapping[str, str]) -> int:
        """Writes a new generation and returns its number. Nothing refers to it yet."""
        self.prepare()
        number = (
            max((int(entry.name) for entry in (self.folder / "gen").iterdir() if entry.name.isdigit()), default=0) + 1
        )
        self._write_generation(number, files)
        return number

    def arm(self, pending: Pending) -> None:
        """From here on the guard undoes the change at its deadline, or at the next boot."""
        replace_file(self.folder / "pending", pending.text().encode())

    def activate(self, number: int) -> None:
        self._point("active", number)

    def take(self) -> bool:
        """Decides for confirmation. False: the guard was faster, or there was nothing to confirm."""
        try:
            (self.folder / "pending").rename(self.folder / "taken")
        except FileNotFoundError:
            return False
        sync_folder(self.folder)
        return True

    def confirm(self, number: int) -> None:
        """After `take`: `number` holds from now on, also after a reboot."""
        self._point("confirmed", number)
        self._point("active", number)
        (self.folder / "taken").unlink(missing_ok=True)
        self._forget_old(number)

    def finish_taken(self, this_boot: str) -> None:
        """Carries a confirmation to its end that a crash interrupted after `take`. In another boot the former network stands already."""
        taken = self._read_pending("taken")
        if taken is None:
            return
        if taken.boot_id == this_boot:
            self.confirm(taken.new)
        else:
            (self.folder / "taken").unlink(missing_ok=True)

    def abandon(self) -> None:
        """Takes `pending` back where no change was made."""
        (self.folder / "pending").unlink(missing_ok=True)
        sync_folder(self.folder)

    def release(self) -> None:
        """Hands the network back: what the machine has stays, nothing is set up at boot any more."""
        for name in ("confirmed", "active"):
            (self.folder / name).unlink(missing_ok=True)
        sync_folder(self.folder)

    def pending(self) -> Pending | None:
        """The change that awaits confirmation. Raises `Damaged`."""
        return self._read_pending("pending")

    def _read_pending(self, name: str) -> Pending | None:
        try:
            with (self.folder / name).open(encoding="ascii") as file:
                text = file.read(PENDING_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Damaged(f"{self.folder / name} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Damaged(f"{self.folder / name} holds no text") from error
        values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        try:
            return Pending(
                boot_id=values["boot"],
                deadline_s=int(values["deadline"]),
                changed_s=float(values["changed"]),
                former=int(values["former"]),
                new=int(values["new"]),
                token_digest=values["token"],
            )
        except (KeyError, ValueError) as error:
            raise Damaged(f"{self.folder / name} is damaged: {error}") from error

    def undoing(self) -> bool:
        return (self.folder / "undoing").exists()

    def _target(self, name: str) -> int | None:
        try:
            target = (self.folder / name).readlink()
        except OSError:  # absent, or something that is not ours
            return None
        return int(target.name) if target.name.isdigit() and target.parent.name == "gen" else None

    def _point(self, name: str, number: int) -> None:
        temporary = self.folder / f".{name}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(f"gen/{number}")
        temporary.replace(self.folder / name)
        sync_folder(self.folder)

    def _write_generation(self, number: int, files: Mapping[str, str]) -> None:
        temporary = self.folder / "gen" / f".{number}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name, text in files.items():
            replace_file(temporary / name, text.encode())
        sync_folder(temporary)
        temporary.rename(self.folder / "gen" / str(number))
        sync_folder(self.folder / "gen")

    def _forget_old(self, newest: int) -> None:
        used = {self.confirmed(), self.active(), 0}
        for entry in (self.folder / "gen").iterdir():
            if entry.name.isdigit() and int(entry.name) not in used and int(entry.name) <= newest - KEPT:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(entry)


def boot_id() -> str:
    return BOOT_ID.read_text(encoding="ascii").strip()
