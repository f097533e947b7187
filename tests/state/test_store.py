"""The state file: what was acknowledged is there after any end, what was not is absent as a whole."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from recorderd.model.device import Device
from recorderd.model.job import RecordingJob
from recorderd.model.objects import Draft, Objects, apply
from recorderd.model.receiver import Receiver
from recorderd.model.recording import Recording
from recorderd.state.migrations import MIGRATIONS
from recorderd.state.store import CHECKPOINT_BYTES, StateError, Store


def device(number: int, description: str = "") -> Device:
    return Device(id=f"cam{number}", uid=uuid.UUID(int=number), description=description)


def put(objects: Objects, *devices: Device, password: str | None = None) -> Draft:
    draft = Draft(objects)
    for new in devices:
        draft.devices.put(new)
        if password is not None:
            draft.secret("device", new.id, "password", password)
    return draft


def reopened(path: Path) -> Objects:
    with Store.open(path) as store:
        return store.load()


def test_everything_comes_back_in_the_order_of_creation(tmp_path: Path) -> None:
    path = tmp_path / "state" / "recorderd.sqlite"

    async def main() -> None:
        with Store.open(path) as store:
            objects = store.load()
            for number in (3, 1, 2):
                draft = put(objects, device(number))
                draft.number("receiver")
                await store.commit(draft.change)
                apply(objects, draft.change)
            draft = put(objects, device(3, "changed"))
            draft.receivers.put(Receiver(id=uuid.UUID(int=9), token="r9"))
            await store.commit(draft.change)

    asyncio.run(main())
    found = reopened(path)
    assert list(found.tables["device"]) == ["cam3", "cam1", "cam2"]
    assert found.tables["device"]["cam3"] == device(3, "changed")
    assert found.tables["receiver"]["r9"] == Receiver(id=uuid.UUID(int=9), token="r9")
    assert found.numbers == {"receiver": 3}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_go_with_their_object_and_leave_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store.open(path) as store:
        objects = store.load()
        change = put(objects, device(1), password="pass-word-of-cam1").change
        store.commit_now(change)
        apply(objects, change)
        assert store.secret("device", "cam1", "password") == "pass-word-of-cam1"
        assert b"pass-word" not in repr(change).encode(), "a change that is logged shows no secret"
    with Store.open(path) as store:
        assert store.secret("device", "cam1", "password") == "pass-word-of-cam1"
        draft = Draft(store.load())
        draft.devices.delete("cam1")
        store.commit_now(draft.change)
        assert store.secret("device", "cam1", "password") is None
        assert list(store.secret_names()) == []
    assert b"pass-word-of-cam1" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        objects = store.load()
        draft = put(objects, device(1))
        draft.secret("device", "nobody", "password", "x")  # no such object: the foreign key refuses it
        with pytest.raises(StateError):
            store.commit_now(draft.change)
        assert store.load().tables["device"] == {}
        assert store.secret("device", "nobody", "password") is None
        store.commit_now(put(objects, device(2)).change)
    assert list(reopened(tmp_path / "s").tables["device"]) == ["cam2"]


def cut(source: Path, target: Path, log_bytes: int) -> Path:
    """The files as a power cut leaves them: the log only as far as it was written, and no shared memory."""
    target.mkdir()
    path = target / source.name
    shutil.copy(source, path)
    log = source.with_name(source.name + "-wal").read_bytes()
    path.with_name(path.name + "-wal").write_bytes(log[:log_bytes])
    return path


def test_a_power_cut_at_every_byte_of_the_log_leaves_one_state_or_the_next(tmp_path: Path) -> None:
    path = tmp_path / "live" / "s"
    with Store.open(path) as store:
        objects = store.load()
        log = path.with_name("s-wal")
        before = put(objects, device(1, "before"), device(2, "before"), password="p").change
        store.commit_now(before)
        apply(objects, before)
        old_size = log.stat().st_size
        store.commit_now(put(objects, device(1, "after"), device(2, "after"), device(3, "after"), password="q").change)
        new_size = log.stat().st_size
        assert new_size > old_size
        places = sorted({*range(old_size, new_size, 509), new_size - 1, new_size})
        seen = set()
        for number, length in enumerate(places):
            found = reopened(cut(path, tmp_path / f"cut{number}", length)).tables["device"]
            seen.add(tuple((key, d.description) for key, d in found.items()))  # type: ignore[attr-defined]
            if length == new_size:
                assert found["cam3"].description == "after"  # type: ignore[attr-defined]
    assert seen == {
        (("cam1", "before"), ("cam2", "before")),
        (("cam1", "after"), ("cam2", "after"), ("cam3", "after")),
    }


def test_a_power_cut_inside_a_checkpoint_loses_nothing(tmp_path: Path) -> None:
    """The log is whole while its pages are written back: whatever part of them arrived, the log wins."""
    path = tmp_path / "live" / "s"
    path.parent.mkdir()
    with Store.open(path) as store:
        objects = store.load()
        for number in range(40):
            change = put(objects, device(number, "x" * 900)).change
            store.commit_now(change)
            apply(objects, change)
        old = path.read_bytes()
        log = path.with_name("s-wal").read_bytes()
        store._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        new = path.read_bytes()
    page = 4096
    for number, written in enumerate(range(0, len(new) // page + 1, 3)):
        torn = tmp_path / f"torn{number}"
        torn.mkdir()
        (torn / "s").write_bytes(new[: written * page] + old[written * page :])
        (torn / "s-wal").write_bytes(log)
        assert len(reopened(torn / "s").tables["device"]) == 40


def test_the_log_is_written_back_before_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store.open(path) as store:
        objects = store.load()
        for number in range(200):
            change = put(objects, device(number % 8, "y" * 1000 + str(number))).change
            store.commit_now(change)
            apply(objects, change)
        assert store.checkpoints > 0
        assert path.with_name("s-wal").stat().st_size <= CHECKPOINT_BYTES + 64 * 1024


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, uuid
        from pathlib import Path
        from recorderd.model.device import Device
        from recorderd.model.objects import Draft, apply
        from recorderd.state.store import Store
        with Store.open(Path(sys.argv[1])) as store:
            objects = store.load()
            number = len(objects.tables["device"])
            while True:
                draft = Draft(objects)
                draft.devices.put(Device(id=f"a{number}", uid=uuid.uuid4()))
                draft.devices.put(Device(id=f"b{number}", uid=uuid.uuid4()))
                store.commit_now(draft.change)
                apply(objects, draft.change)
                print(number, flush=True)
                number += 1
        """
    )
    path = tmp_path / "s"
    for round_number in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert child.stdout is not None
        last = -1
        for _ in range(10 + 7 * round_number):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.communicate()[0].split()
        last = int(rest[-1]) if rest and rest[-1].isdigit() else last
        found = reopened(path).tables["device"]
        assert f"a{last}" in found
        assert {k[1:] for k in found if k[0] == "a"} == {k[1:] for k in found if k[0] == "b"}, "both of a pair or none"


def test_two_daemons_cannot_share_it(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s"), pytest.raises(StateError, match="locked"):
        Store.open(tmp_path / "s")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_on_a_read_only_file_system_the_last_configuration_is_used(tmp_path: Path) -> None:
    """In a mount namespace of its own: a file system that turns read-only, as broken flash does."""
    program = textwrap.dedent(
        """
        import subprocess, sys, uuid
        from pathlib import Path
        from recorderd.model.device import Device
        from recorderd.model.objects import Draft
        from recorderd.state.store import StateError, Store
        folder = Path(sys.argv[1])
        subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)
        def draft(store, name):
            made = Draft(store.load())
            made.devices.put(Device(id=name, uid=uuid.uuid4()))
            made.secret("device", name, "password", "p")
            return made.change
        with Store.open(folder / "state") as store:
            store.commit_now(draft(store, "cam1"))
            log = (folder / "state-wal").read_bytes()
            data = (folder / "state").read_bytes()
        (folder / "state").write_bytes(data)
        (folder / "state-wal").write_bytes(log)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with Store.open(folder / "state") as store:
            assert list(store.load().tables["device"]) == ["cam1"]
            assert store.secret("device", "cam1", "password") == "p"
            assert "read-only" in store.frozen
            copy = store._copy
            try:
                store.commit_now(draft(store, "cam2"))
            except StateError as error:
                assert "read-only" in str(error)
            else:
                raise AssertionError("a change was taken")
            assert list(store.load().tables["device"]) == ["cam1"]
        assert not copy.exists(), "the copy goes with the process"
        print("fine")
        """
    )
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StateError, match="not a database"):
        Store.open(tmp_path / "s")


def test_migrations_run_once_in_order_and_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store.open(path) as store:
        store.commit_now(put(store.load(), device(1)).change)

    def rename(db: sqlite3.Connection) -> None:
        db.execute("UPDATE object SET body = json_set(body, '$.description', 'migrated') WHERE kind = 'device'")

    def fail(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM object")
        raise sqlite3.OperationalError("power cut")

    with pytest.raises(StateError, match="power cut"):
        Store.open(path, (*MIGRATIONS, rename, fail))
    with Store.open(path, (*MIGRATIONS, rename)) as store:
        assert store.load().tables["device"]["cam1"].description == "migrated"  # type: ignore[attr-defined]
    newest = len(MIGRATIONS)
    with pytest.raises(StateError, match=f"version {newest + 1}, this release knows {newest}"):
        Store.open(path)


def test_the_first_release_s_file_is_migrated(tmp_path: Path) -> None:
    """`version-1.sqlite` was written by the first release, with an object of every kind it had and a secret of every kind."""
    path = tmp_path / "s"
    shutil.copyfile(Path(__file__).parent / "version-1.sqlite", path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    for _ in range(2):
        with Store.open(path) as store:
            tables = store.load().tables
            assert {kind: list(table) for kind, table in tables.items()} == {
                "device": ["door"], "receiver": ["receiver-1"], "recording": ["recording-1", "recording-2"], "job": ["job-1"],
                "schedule": ["office"], "special_days": ["holidays"], "group": ["front"], "destination": ["storage-1"],
                "deletion": [],
            }  # fmt: skip
            assert tables["device"]["door"] == Device(
                id="door", uid=tables["device"]["door"].uid, description="front door", address="192.0.2.7",  # type: ignore[attr-defined]
                username="viewer", poe_port="3",
            )  # fmt: skip
            recording = tables["recording"]["recording-1"]
            assert isinstance(recording, Recording)
            assert (recording.configuration.source.name, recording.configuration.maximum_retention_ms) == (
                "Tür",
                86_400_000,
            )
            assert recording.configuration.target is not None
            assert recording.configuration.target.encryption[0].kid == "00112233445566778899aabbccddeeff"
            assert [t.token for t in recording.tracks] == ["VIDEO001", "AUDIO001", "META001"]
            job = tables["job"]["job-1"]
            assert isinstance(job, RecordingJob)
            assert (job.configuration.priority, job.configuration.schedule) == (3, "office")
            assert job.configuration.event_filter is not None
            assert job.configuration.event_filter.before_ms == 5000
            assert store.load().numbers["recording"] == 3, "numbers go on where they were"
            assert store.secret("device", "door", "password") == "secret of a camera"
            assert store.secret("destination", "storage-1", "password") == "secret of a storage"
            assert store.secret("recording", "recording-1", "key 00112233445566778899aabbccddeeff") is not None
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_power_cut_in_a_migration_leaves_one_version_or_the_next(tmp_path: Path) -> None:
    """The older file with each prefix of what its migration writes."""
    source = Path(__file__).parent / "version-1.sqlite"
    live = tmp_path / "live"
    live.mkdir()
    shutil.copyfile(source, live / "s")

    def rename(db: sqlite3.Connection) -> None:
        db.execute("UPDATE object SET body = json_set(body, '$.description', 'migrated') WHERE kind = 'device'")

    with Store.open(live / "s", (*MIGRATIONS, rename)):
        log = (live / "s-wal").read_bytes()
    seen = set()
    for number, length in enumerate([*range(0, len(log), 1021), len(log)]):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        shutil.copyfile(source, folder / "s")
        (folder / "s-wal").write_bytes(log[:length])
        with closing(sqlite3.connect(folder / "s")) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            description = db.execute(
                "SELECT json_extract(body, '$.description') FROM object WHERE kind = 'device'"
            ).fetchone()[0]
        assert (description == "migrated") == (version == len(MIGRATIONS) + 1)
        seen.add(version)
        with Store.open(folder / "s", (*MIGRATIONS, rename)) as store:
            assert store.load().tables["device"]["door"].description == "migrated"  # type: ignore[attr-defined]
    assert {1, len(MIGRATIONS) + 1} <= seen <= set(range(1, len(MIGRATIONS) + 2))


def test_any_sector_of_the_newest_change_may_be_missing(tmp_path: Path) -> None:
    """A disk writes the sectors of one transaction in any order: with one missing, the change is absent as a whole."""
    path = tmp_path / "live" / "s"
    with Store.open(path) as store:
        objects = store.load()
        log = path.with_name("s-wal")
        before = put(objects, device(1, "before"), device(2, "before")).change
        store.commit_now(before)
        apply(objects, before)
        old = log.read_bytes()
        store.commit_now(put(objects, device(1, "after"), device(2, "after"), device(3, "x" * 5000)).change)
        new = log.read_bytes()
        base = path.read_bytes()
    for number, at in enumerate(range(len(old) // 512 * 512, len(new), 512)):
        sector = slice(max(at, len(old)), min(at + 512, len(new)))
        torn = tmp_path / f"torn{number}"
        torn.mkdir()
        (torn / "s").write_bytes(base)
        (torn / "s-wal").write_bytes(new[: sector.start] + bytes(sector.stop - sector.start) + new[sector.stop :])
        found = [d.description for d in reopened(torn / "s").tables["device"].values()]  # type: ignore[attr-defined]
        if any(new[sector]):
            assert found == ["before", "before"]
        else:
            assert found in (["before", "before"], ["after", "after", "x" * 5000]), "the sector was all zeros"
