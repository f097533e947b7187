"""A mirrored configuration, put back where none is."""

from __future__ import annotations

from recorderd.model.faults import AlreadyExists
from recorderd.model.objects import Draft, Objects


def restore(draft: Draft, objects: Objects) -> int:
    """All objects with the ids they had, so that what the disk holds belongs to them again. Returns how many."""
    if any(draft.base.tables.values()):
        raise AlreadyExists("there is a configuration: only a recorder without one is restored")
    for kind, table in objects.tables.items():
        for key, each in table.items():
            draft.change.puts[kind, key] = each
    draft.change.numbers.update(objects.numbers)
    return len(draft.change.puts)
