"""The one SQLite file that holds what is configured.

Write-ahead log with `synchronous=FULL`: a commit returns when the log is on the medium, so what was acknowledged survives a power
cut at any instant, and what was not is absent as a whole.
The file is opened in exclusive locking mode: one daemon, and no shared-memory file.
Checkpoints are made by us, after a commit, when the log has grown past a bound, so the file stays small and flash is spared.

All SQLite calls run in one thread. The objects in memory are what the daemon works with; this file is read once, at start.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import msgspec

from recorderd.durable import sync_folder
from recorderd.model.objects import KINDS, Change, Objects
from recorderd.state.migrations import MIGRATIONS, Migration, TooNew, migrate

CHECKPOINT_BYTES = 1 << 20  # the log is written back when it is longer
_DECODERS = {kind: msgspec.json.Decoder(struct) for kind, (struct, _) in KINDS.items()}
_ENCODER = msgspec.json.Encoder()

_VOLATILE = Path("/dev/shm")  # where a copy of secrets may lie: memory, not flash
_log = logging.getLogger(__name__)

_BROKEN_MEDIUM = (errno.EIO, errno.EROFS, errno.EUCLEAN, errno.ENOSPC, errno.ENODEV)
_DAMAGE = {  # primary result codes (sqlite3.h)
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
}


class StateError(Exception):
    """The state file cannot be read or written; the text says which file and why."""


class StateBroken(StateError):
    """The file or its medium is damaged: what was configured has to come from elsewhere."""


class Store:
    """Open state file. `load` once, then `commit` per change, then `close`. `frozen` says why nothing can be changed, if so."""

    def __init__(self, db: sqlite3.Connection, path: Path, *, frozen: str = "", copy: Path | None = None) -> None:
        self.frozen = frozen
        self._copy = copy
        self._db = db
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._secrets = {(kind, key, name): str(value) for kind, key, name, value in db.execute("SELECT * FROM secret")}
        self.transactions = 0
        self.checkpoints = 0

    @classmethod
    def open(cls, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> Store:
        """Opens or creates the file (mode 0600) and migrates it. Blocks; called before the loop has work. Raises `StateError`.

        On a file system that has become read-only the last configuration is used from a copy in memory's file system, and every change
        is refused: recording goes on.
        """
        try:
            if path.exists() and os.statvfs(path).f_flag & os.ST_RDONLY:
                return cls._open_frozen(path, migrations)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
            return cls(_connect(path, migrations), path)
        except sqlite3.DatabaseError as error:
            raise (StateBroken if _is_damage(error) else StateError)(f"{path}: {error}") from error
        except OSError as error:
            raise (StateBroken if error.errno in _BROKEN_MEDIUM else StateError)(f"{path}: {error}") from error
        except TooNew as error:
            raise StateError(f"{path}: {error}") from error

    @classmethod
    def substitute(cls, objects: Objects, reason: str) -> Store:
        """In place of a broken file: holds these objects in memory, no secrets, and refuses every change with the reason."""
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        migrate(db)
        store = cls(db, Path("memory"))
        puts = {(kind, key): each for kind, table in objects.tables.items() for key, each in table.items()}
        store.commit_now(Change(puts=puts, numbers=dict(objects.numbers)))
        store.frozen = reason
        return store

    @classmethod
    def _open_frozen(cls, path: Path, migrations: Sequence[Migration]) -> Store:
        folder = Path(tempfile.mkdtemp(prefix="recorderd-state-", dir=_VOLATILE if _VOLATILE.is_dir() else None))
        try:
            for name in (path.name, path.name + "-wal"):
                if path.with_name(name).exists():
                    shutil.copyfile(path.with_name(name), folder / name)
            reason = f"{path} is on a read-only file system"
            return cls(_connect(folder / path.name, migrations), path, frozen=reason, copy=folder)
        except BaseException:
            shutil.rmtree(folder)
            raise

    def load(self) -> Objects:
        """All objects, in the order of their creation. Raises `StateError` for a document that is none of ours."""
        objects = Objects()
        try:
            for kind, key, body in self._db.execute("SELECT kind, key, body FROM object ORDER BY place"):
                decoder = _DECODERS.get(kind)
                if decoder is None:
                    raise StateBroken(f"{self._path}: unknown kind of object {kind!r}")
                objects.tables[kind][key] = decoder.decode(body)
            objects.numbers.update(self._db.execute("SELECT kind, last FROM number"))
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise StateBroken(f"{self._path}: {error}") from error
        return objects

    async def commit(self, change: Change) -> None:
        """Writes the change as one transaction; on the medium when it returns. Raises `StateError`: then nothing was written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.commit_now, change)

    def commit_now(self, change: Change) -> None:
        """`commit`, blocking, in the calling thread."""
        if self.frozen:
            raise StateError(self.frozen)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._write(change)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from error
        self.transactions += 1
        for kind, key in change.deletes:
            for where in [w for w in self._secrets if w[:2] == (kind, key)]:
                del self._secrets[where]
        for secret in change.secrets:
            if secret.value is None:
                self._secrets.pop((secret.kind, secret.key, secret.name), None)
            else:
                self._secrets[secret.kind, secret.key, secret.name] = secret.value
        self._checkpoint_when_long()

    def _write(self, change: Change) -> None:
        self._db.executemany("DELETE FROM object WHERE kind = ? AND key = ?", sorted(change.deletes))
        self._db.executemany(
            "INSERT INTO object (kind, key, place, body) VALUES (?, ?, (SELECT coalesce(max(place), 0) + 1 FROM object), ?)"
            " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
            [(kind, key, _ENCODER.encode(new)) for (kind, key), new in change.puts.items()],
        )
        for secret in change.secrets:
            where = (secret.kind, secret.key, secret.name)
            if secret.value is None:
                self._db.execute("DELETE FROM secret WHERE kind = ? AND key = ? AND name = ?", where)
            else:
                self._db.execute(
                    "INSERT OR REPLACE INTO secret (kind, key, name, value) VALUES (?, ?, ?, ?)", (*where, secret.value)
                )
        self._db.executemany("INSERT OR REPLACE INTO number (kind, last) VALUES (?, ?)", change.numbers.items())

    def _checkpoint_when_long(self) -> None:
        """A failed checkpoint loses nothing: the log stays, and the next commit tries again."""
        log = self._path.with_name(self._path.name + "-wal")
        try:
            if log.stat().st_size > CHECKPOINT_BYTES:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self.checkpoints += 1
        except (OSError, sqlite3.Error) as error:
            _log.warning("%s: cannot write the log back: %s", self._path, error)

    def secret(self, kind: str, key: str, name: str) -> str | None:
        """The only way a secret leaves: into a request to the device or storage it is for."""
        return self._secrets.get((kind, key, name))

    def secret_names(self) -> Collection[tuple[str, str, str]]:
        """(kind, key, name) of the secrets that are set, without their values."""
        return self._secrets.keys()

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._db.close()
        if self._copy is not None:
            shutil.rmtree(self._copy)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _connect(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        migrate(db, migrations)
        sync_folder(path.parent)
    except BaseException:
        db.close()
        raise
    return db
