"""The copy of the configuration on the data disk: whole or the one before, never empty, never with a secret."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from recorderd.model.device import Device
from recorderd.model.disk_files import CONFIGURATION_BYTES, CONFIGURATIONS
from recorderd.model.objects import Change, Objects
from recorderd.model.recording import Recording, RecordingConfiguration
from recorderd.state import mirror
from recorderd.state.migrations import MIGRATIONS
from recorderd.state.mirroring import LOOK_S, SETTLE_S, Mirroring, objects_of
from recorderd.state.store import StateError, Store
from tests.simulated_time import FakeClock, run_simulated

SECRETS = [("device", "cam1", "password")]


def configured(*names: str) -> Objects:
    objects = Objects()
    for number, name in enumerate(names):
        objects.tables["device"][name] = Device(id=name, uid=uuid.UUID(int=number), username="u")
    objects.tables["recording"]["recording-1"] = Recording(
        id=uuid.UUID(int=99), token="recording-1", configuration=RecordingConfiguration(), tracks=()
    )
    objects.numbers["recording"] = 7
    return objects


def made(*names: str) -> mirror.Mirror:
    return mirror.mirror_of(configured(*names), SECRETS, version=len(MIGRATIONS), written_ns=5)


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """As much of a formatted ring as matters here."""
    (tmp_path / mirror.MARKER).write_bytes(b"")
    for name in CONFIGURATIONS:
        (tmp_path / name).write_bytes(bytes(CONFIGURATION_BYTES))
    return tmp_path


def names(found: mirror.Mirror | None) -> list[str]:
    return [] if found is None else list(objects_of(found).tables["device"])


def test_what_is_written_comes_back(ring: Path) -> None:
    assert mirror.read(ring) is None
    for number in range(5):
        assert mirror.write(ring, made("cam1", f"cam{number}"))
        found = mirror.read(ring)
        assert found is not None
        assert objects_of(found) == configured("cam1", f"cam{number}")
        assert (found.secrets, found.written_ns) == (SECRETS, 5)
    assert sorted(p.name for p in ring.iterdir()) == [*CONFIGURATIONS, mirror.MARKER], "nothing is created (I6)"
    assert {(ring / name).stat().st_size for name in CONFIGURATIONS} == {CONFIGURATION_BYTES}


def test_a_power_cut_in_any_write_leaves_the_one_before(ring: Path) -> None:
    mirror.write(ring, made("cam1", "first"))
    mirror.write(ring, made("cam1", "second"))
    first = ring / CONFIGURATIONS[0]
    old = first.read_bytes()
    mirror.write(ring, made("cam1", "third"))
    new = first.read_bytes()
    end = max(n for n in range(4096) if new[n] or old[n]) + 1
    for length in [*range(0, end, 3), end]:
        first.write_bytes(new[:length] + old[length:])
        assert names(mirror.read(ring)) == ["cam1", "third" if new[length:] == old[length:] else "second"]
    for at in range(0, end, 512):
        first.write_bytes(new[:at] + old[at : at + 512] + new[at + 512 :])
        assert names(mirror.read(ring)) == ["cam1", "second"], "a sector that did not arrive"
    first.write_bytes(bytes(CONFIGURATION_BYTES))
    assert mirror.write(ring, made("cam1", "fourth"))
    assert names(mirror.read(ring)) == ["cam1", "fourth"]


def test_never_empty_and_never_without_a_ring(tmp_path: Path, ring: Path) -> None:
    mirror.write(ring, made("cam1"))
    assert not mirror.write(ring, mirror.mirror_of(Objects(), [], version=1, written_ns=0))
    assert names(mirror.read(ring)) == ["cam1"]
    (ring / mirror.MARKER).unlink()
    assert not mirror.write(ring, made("cam2"))
    assert mirror.read(ring) is None


def test_a_disk_is_input(ring: Path, tmp_path: Path) -> None:
    mirror.write(ring, made("cam1"))
    first, elsewhere = ring / CONFIGURATIONS[0], tmp_path / "elsewhere"
    written = first.read_bytes()
    elsewhere.write_bytes(written)
    for spoil in (
        lambda: first.symlink_to(elsewhere), lambda: os.link(elsewhere, first), first.mkdir, lambda: first.write_bytes(b""),
        lambda: os.mkfifo(first), lambda: None,
    ):  # fmt: skip
        shutil.rmtree(first) if first.is_dir() else first.unlink(missing_ok=True)
        spoil()
        for use in (lambda: mirror.read(ring), lambda: mirror.write(ring, made("cam2"))):
            with pytest.raises(OSError):
                use()
        assert elsewhere.read_bytes() == written
    elsewhere.unlink()
    bomb, magic = zlib.compress(bytes(64 << 20)), b"recorderd-configuration"
    for garbage in (
        b"\n", b"recorderd-configuration 1 00000000 0\n", b"recorderd-configuration -1 0 0\n{}", b"x" * 1000,
        b"recorderd-configuration 1 00000000 99999999999999999999\n", b"%b 7 %08x %d\n" % (magic, zlib.crc32(bomb), len(bomb)) + bomb,
    ):  # fmt: skip
        first.write_bytes(garbage + bytes(CONFIGURATION_BYTES - len(garbage)))
        assert mirror.read(ring) is None
    first.write_bytes(bytes(CONFIGURATION_BYTES))
    large = msgspec.structs.replace(
        made("cam1"), tables={"device": [msgspec.Raw(b'"%b"' % os.urandom(600_000).hex().encode())] * 2}
    )
    with pytest.raises(OSError, match="no room"):
        mirror.write(ring, large)
    strange = msgspec.structs.replace(made("cam1"), tables={"weapon": [msgspec.Raw(b"{}")]})
    mirror.write(ring, strange)
    found = mirror.read(ring)
    assert found is not None
    with pytest.raises(StateError, match="weapon"):
        objects_of(found)
    with pytest.raises(StateError, match="version 99"):
        objects_of(msgspec.structs.replace(made("cam1"), version=99))


def test_a_substitute_refuses_every_change() -> None:
    with Store.substitute(configured("cam1"), "flash is broken") as store:
        assert store.load() == configured("cam1")
        assert store.frozen == "flash is broken"
        with pytest.raises(StateError, match="flash is broken"):
            store.commit_now(Change(numbers={"x": 1}))


def follow(
    ring: Path, story: Callable[[Mirroring, Objects, FakeClock, list[bool]], Coroutine[None, None, None]]
) -> None:
    async def main(clock: FakeClock) -> None:
        objects, usable = configured("cam1"), [True]
        keeper = Mirroring(
            ring=ring,
            objects=objects,
            secrets=lambda: SECRETS,
            clock=clock,
            usable=lambda: usable[0],
            in_thread=_at_once,
        )
        task = asyncio.create_task(keeper.run())
        try:
            await story(keeper, objects, clock, usable)
        finally:
            task.cancel()

    run_simulated(main)


async def _at_once(call: Callable[[], object]) -> object:
    return call()


def test_many_changes_are_one_write(ring: Path) -> None:
    async def story(keeper: Mirroring, objects: Objects, clock: FakeClock, usable: list[bool]) -> None:
        await asyncio.sleep(SETTLE_S + 0.1)
        assert (keeper.writes, names(mirror.read(ring))) == (1, ["cam1"])
        for number in range(50):
            objects.tables["device"][f"new{number}"] = Device(id=f"new{number}", uid=uuid.UUID(int=1000 + number))
            keeper.changed()
        await asyncio.sleep(SETTLE_S + 0.1)
        assert (keeper.writes, len(names(mirror.read(ring)))) == (2, 51)
        await asyncio.sleep(3600)
        assert keeper.writes == 2
        usable[0] = False
        keeper.changed()
        await asyncio.sleep(100)
        assert keeper.writes == 2
        usable[0] = True
        await asyncio.sleep(LOOK_S + SETTLE_S)
        assert keeper.writes == 3

    follow(ring, story)


def test_a_lost_configuration_is_offered_and_not_overwritten(ring: Path) -> None:
    mirror.write(ring, made("cam1", "cam2"))

    async def story(keeper: Mirroring, objects: Objects, clock: FakeClock, usable: list[bool]) -> None:
        for table in objects.tables.values():
            table.clear()
        assert keeper.troubles() == []
        await asyncio.sleep(SETTLE_S + 0.1)
        assert "recorderctl configuration" in keeper.troubles()[0]
        assert keeper.writes == 0
        assert names(mirror.read(ring)) == ["cam1", "cam2"]
        objects.tables.update(configured("cam1").tables)
        keeper.changed()
        await asyncio.sleep(SETTLE_S + 0.1)
        assert keeper.troubles() == []

    follow(ring, story)


def test_a_disk_that_refuses_is_said(ring: Path) -> None:
    for name in CONFIGURATIONS:
        (ring / name).unlink()

    async def story(keeper: Mirroring, objects: Objects, clock: FakeClock, usable: list[bool]) -> None:
        await asyncio.sleep(SETTLE_S + 0.1)
        assert "no copy on the data disk" in keeper.troubles()[0]
        for name in CONFIGURATIONS:
            (ring / name).write_bytes(bytes(CONFIGURATION_BYTES))
        await asyncio.sleep(LOOK_S + 2 * SETTLE_S)
        assert (keeper.troubles(), keeper.writes) == ([], 1)

    follow(ring, story)
