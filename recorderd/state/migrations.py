"""The state file's schema, version by version. A released migration is never edited: a change is a new one at the end.

`PRAGMA user_version` counts the migrations that have run. Each runs in the transaction that raises it, so a power cut leaves the
file at one version or the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

Migration = Callable[[sqlite3.Connection], None]


def _v1_objects(db: sqlite3.Connection) -> None:
    """Objects as JSON documents by kind and key; `place` keeps the order of creation. Secrets apart, deleted with their object."""
    db.execute(
        "CREATE TABLE object (kind TEXT NOT NULL, key TEXT NOT NULL, place INTEGER NOT NULL, body BLOB NOT NULL,"
        " PRIMARY KEY (kind, key)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE secret (kind TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
        " PRIMARY KEY (kind, key, name),"
        " FOREIGN KEY (kind, key) REFERENCES object (kind, key) ON DELETE CASCADE) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE number (kind TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID")


def _v2_pending_deletions(_: sqlite3.Connection) -> None:
    """Objects of kind `deletion` may be there, which the first release would not know: media of deleted recordings that has yet to go."""


MIGRATIONS: tuple[Migration, ...] = (_v1_objects, _v2_pending_deletions)


class TooNew(Exception):
    """The file was written by a later release."""


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Brings the file to the newest version; returns the version it had. Raises `TooNew`, and sqlite3.Error for a damaged file."""
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found > len(migrations):
        raise TooNew(f"the state file has version {found}, this release knows {len(migrations)}")
    for version in range(found, len(migrations)):
        db.execute("BEGIN IMMEDIATE")
        try:
            migrations[version](db)
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    return found
