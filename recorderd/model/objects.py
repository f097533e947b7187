"""Everything that is configured, as one set of tables in memory, and a draft of a change to it.

A draft reads through to the set it was made from and collects what is put and deleted, so that a change is checked as a whole, stored as
one transaction and then applied at once; whoever reacts to it sees exactly which objects it touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from recorderd.model.deletion import PendingDeletion
from recorderd.model.destination import Destination
from recorderd.model.device import Device
from recorderd.model.group import RecordingGroup
from recorderd.model.job import RecordingJob
from recorderd.model.receiver import Receiver
from recorderd.model.recording import Recording
from recorderd.model.schedule import Schedule, SpecialDayGroup

T = TypeVar("T", bound=msgspec.Struct)

KINDS: dict[str, tuple[type[msgspec.Struct], str]] = {
    "device": (Device, "id"),
    "receiver": (Receiver, "token"),
    "recording": (Recording, "token"),
    "job": (RecordingJob, "token"),
    "schedule": (Schedule, "token"),
    "special_days": (SpecialDayGroup, "token"),
    "group": (RecordingGroup, "id"),
    "destination": (Destination, "token"),
    "deletion": (PendingDeletion, "token"),
}
"""Kind as it is stored -> struct, and the field that is its key."""


@dataclass(slots=True)
class Objects:
    """Kind -> key -> object. Replaced object by object, never mutated inside."""

    tables: dict[str, dict[str, msgspec.Struct]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    numbers: dict[str, int] = field(
        default_factory=dict
    )  # last number given out per kind, so that tokens are never reused


@dataclass(frozen=True, slots=True)
class Secret:
    """A write-only value that belongs to an object; `value` None removes it."""

    kind: str
    key: str
    name: str
    value: str | None = field(repr=False)


@dataclass(slots=True)
class Change:
    """What one transaction writes."""

    puts: dict[tuple[str, str], msgspec.Struct] = field(default_factory=dict)
    deletes: set[tuple[str, str]] = field(default_factory=set)
    secrets: list[Secret] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes or self.secrets or self.numbers)

    def touched(self, kind: str) -> set[str]:
        """Keys of the objects of this kind that were put or deleted."""
        return {key for k, key in self.puts if k == kind} | {key for k, key in self.deletes if k == kind}

    def concerned(self, kind: str) -> set[str]:
        """The same with the objects of which only a secret changed."""
        return self.touched(kind) | {s.key for s in self.secrets if s.kind == kind}


class Table(Generic[T]):
    """One kind of object as a draft sees it."""

    def __init__(self, draft: Draft, kind: str) -> None:
        self._draft = draft
        self._kind = kind
        self._key = KINDS[kind][1]
        self._below: dict[str, T] = draft.base.tables[kind]  # type: ignore[assignment]

    def get(self, key: str) -> T | None:
        where = (self._kind, key)
        if where in self._draft.change.deletes:
            return None
        put = self._draft.change.puts.get(where)
        return put if put is not None else self._below.get(key)  # type: ignore[return-value]

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[T]:
        """In the order of creation: what is stored, then what the draft added."""
        change = self._draft.change
        for key, below in self._below.items():
            if (self._kind, key) not in change.deletes:
                yield change.puts.get((self._kind, key), below)  # type: ignore[misc]
        for (kind, key), put in change.puts.items():
            if kind == self._kind and key not in self._below:
                yield put  # type: ignore[misc]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def put(self, new: T) -> None:
        key = getattr(new, self._key)
        where = (self._kind, key)
        self._draft.change.deletes.discard(where)
        if self._below.get(key) == new:
            self._draft.change.puts.pop(where, None)
        else:
            self._draft.change.puts[where] = new

    def delete(self, key: str) -> None:
        where = (self._kind, key)
        self._draft.change.puts.pop(where, None)
        if key in self._below:
            self._draft.change.deletes.add(where)


class Draft:
    """A change in the making. Nothing outside sees it before `apply`."""

    def __init__(self, base: Objects) -> None:
        self.base = base
        self.change = Change()
        self.devices: Table[Device] = Table(self, "device")
        self.receivers: Table[Receiver] = Table(self, "receiver")
        self.recordings: Table[Recording] = Table(self, "recording")
        self.jobs: Table[RecordingJob] = Table(self, "job")
        self.schedules: Table[Schedule] = Table(self, "schedule")
        self.special_days: Table[SpecialDayGroup] = Table(self, "special_days")
        self.groups: Table[RecordingGroup] = Table(self, "group")
        self.destinations: Table[Destination] = Table(self, "destination")
        self.deletions: Table[PendingDeletion] = Table(self, "deletion")

    def number(self, kind: str) -> int:
        """The next number of a sequence; stored with the change, so it is not given out twice."""
        n = self.change.numbers.get(kind, self.base.numbers.get(kind, 0)) + 1
        self.change.numbers[kind] = n
        return n

    def secret(self, kind: str, key: str, name: str, value: str | None) -> None:
        self.change.secrets.append(Secret(kind, key, name, value))


def apply(objects: Objects, change: Change) -> None:
    """Makes the change visible."""
    for kind, key in change.deletes:
        del objects.tables[kind][key]
    for (kind, key), new in change.puts.items():
        objects.tables[kind][key] = new
    objects.numbers.update(change.numbers)
