"""ExportRecordedData for real: from a ring to a folder, an S3 bucket and an HTTP server, through both workers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import av
import msgspec
import pytest

from recorderd.events.broker import Broker
from recorderd.events.history import History
from recorderd.model.destination import Destination
from recorderd.model.faults import BadConfiguration, MaxExports
from recorderd.model.limits import Limits
from recorderd.model.ports import Event
from recorderd.model.stream import Codec
from recorderd.recording import topics
from recorderd.recording.deliver_to import Surroundings
from recorderd.recording.export_files import Source, files_of
from recorderd.recording.export_plan import NothingRecorded
from recorderd.recording.exports import Exports
from recorderd.recording.operations import Operation, Operations
from recorderd.recording.target_exports import TargetExports
from recorderd.ring.ring import Ring
from tests.media import clips, judges
from tests.peers.object_server import KEY, REGION, SECRET, Fault, ObjectStore, object_server
from tests.recording.stored_ring import NS, RECORDING, record, ring_in, session_units, wanted
from tests.simulated_time import FakeClock

CLIP = clips.video(frames=150)
SOURCE = Source(RECORDING, "door", tuple(wanted([CLIP.form])))
LOCAL = Destination(token="storage-1", type="Local", local_path="cases")


@dataclass
class Bench:
    ring: Ring
    clock: FakeClock
    folder: Path
    start_ns: int  # wall time of the first picture
    exports: TargetExports
    operations: Operations
    events: list[Event]

    async def finished(self, operation: Operation) -> Operation:
        assert operation.task is not None
        async with asyncio.timeout(60):
            await asyncio.wait([operation.task])
        return operation

    def leases(self) -> int:
        assert self.ring.store is not None
        return self.ring.store.leases.count()


@contextlib.asynccontextmanager
async def bench(tmp_path: Path, *, slots: int = 64, limits: Limits | None = None) -> AsyncIterator[Bench]:
    """Twelve seconds of a camera, a gap of 20 s, and six seconds more; files of four seconds."""
    (tmp_path / "objects").mkdir()
    clock, events = FakeClock(), list[Event]()
    broker = Broker(clock=clock, history=History())
    broker.listen(events.append)
    limits = limits or Limits()
    async with ring_in(tmp_path / "ring", clock, slots=slots, slot_bytes=256 << 10) as ring:
        start = await record(ring, clock, *session_units(CLIP))
        await record(ring, clock, *session_units(CLIP, None, 12345), session=2)
        clock.advance(20)
        await record(ring, clock, *session_units(CLIP, None, 99), session=3)
        operations = Operations(broker=broker, limits=limits)
        secrets = {("destination", "storage-2", "password"): SECRET}
        exports = TargetExports(
            ring=ring,
            exports=Exports(ring=ring, clock=clock),
            operations=operations,
            around=Surroundings(
                folder=str(tmp_path / "objects"),
                own_file_system=False,
                ca_file="",
                secret=lambda *where: secrets.get(where),
            ),
            clock=clock,
            limits=limits,
            file_ns=4 * NS,
            jitter=lambda low, high: low / 10,
        )
        wall = start + clock.realtime_ns() - clock.boottime_ns()
        try:
            yield Bench(ring, clock, tmp_path / "objects", wall, exports, operations, events)
        finally:
            await operations.close()


def play(tmp_path: Path, story: Callable[[Bench], Coroutine[None, None, None]], **options: object) -> None:
    async def main() -> None:
        async with bench(tmp_path, **options) as house:  # type: ignore[arg-type]
            await story(house)

    asyncio.run(main())


def s3(store: ObjectStore) -> Destination:
    uri = f"{store.url}/bucket/recorder"
    return Destination(token="storage-2", type="ObjectStorageS3", storage_uri=uri, region=REGION, username=KEY)


def pictures(*files: bytes) -> list[str]:
    """Hashes of the pictures in order, by a player that is not ours."""
    found = []
    for data in files:
        with av.open(io.BytesIO(data)) as container:
            found += [
                clips.picture_hash(Codec.H264, bytes(packet)) for packet in container.demux(video=0) if packet.size
            ]
    return found


EVERYTHING = [clips.picture_hash(Codec.H264, unit.data) for unit in CLIP.units] * 3


def test_into_a_folder_each_picture_once(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        operation = await house.exports.start([SOURCE], LOCAL, folder="17/door")
        names = [file.name for file in operation.files]
        assert house.leases() > 0, "all that it will read is kept from the beginning"
        assert len(names) >= 4
        assert all(name.startswith("17/door/door_20") and name.endswith(".mp4") for name in names)
        assert len(set(names)) == len(names)
        await house.finished(operation)
        assert (operation.error, operation.progress, operation.notes) == ("", 1.0, [])
        assert {file.progress for file in operation.files} == {1.0}
        assert house.leases() == 0
        files = [(house.folder / "cases" / name).read_bytes() for name in names]
        assert pictures(*files) == EVERYTHING
        assert judges.ffmpeg_decode(house.folder / "cases" / names[0]) > 0
        told = [e for e in house.events if e.topic == topics.OPERATION_STATUS]
        moved = [json.loads(files) for e in told if (files := dict(e.data).get("FileProgressStatus"))]
        assert {f["name"]: f["progress"] for files in moved for f in files} == dict.fromkeys(names, 1.0)
        assert all(len(files) <= 2 for files in moved), "an event has only what moved"
        assert told[0].operation == "Initialized"
        assert told[-1].operation == "Deleted"
        assert dict(told[-1].data)["Progress"] == "1.000"
        again = await house.exports.start([SOURCE], LOCAL, stop_ns=house.start_ns + 2 * NS, folder="17/door")
        await house.finished(again)
        assert again.error == ""
        assert not set(names) & {file.name for file in again.files}, "a name is never used twice"

    play(tmp_path, story)


def test_a_part_of_it(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        start = house.start_ns
        operation = await house.exports.start([SOURCE], LOCAL, start_ns=start + 2 * NS, stop_ns=start + 4 * NS)
        await house.finished(operation)
        files = [(house.folder / "cases" / file.name).read_bytes() for file in operation.files]
        assert pictures(*files) == EVERYTHING[50:100]

    play(tmp_path, story)


def test_into_a_bucket_that_fails_again_and_again(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        with object_server(ObjectStore()) as store:
            store.faults += [
                Fault("PUT", status=503, code="SlowDown"),
                Fault("PUT", reset="middle"),
                Fault("PUT", reset="after"),
            ]
            operation = await house.finished(await house.exports.start([SOURCE], s3(store)))
            assert (operation.error, operation.progress, store.faults) == ("", 1.0, [])
            files = [store.objects[f"/bucket/recorder/{file.name}"] for file in operation.files]
            assert pictures(*files) == EVERYTHING
            assert len(store.objects) == len(files)

    play(tmp_path, story)


def test_a_file_that_broke_off_is_made_again(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        with object_server(ObjectStore(signed=False)) as store:
            web = Destination(token="storage-3", type="HTTP", storage_uri=store.url + "/dav")
            broken = Fault("PUT", reset="after")  # the file is there and the recorder cannot know
            store.faults.append(broken)
            operation = await house.finished(await house.exports.start([SOURCE], web))
            assert (operation.error, broken in store.faults) == ("", False)
            assert pictures(*[store.objects[f"/dav/{file.name}"] for file in operation.files]) == EVERYTHING

    play(tmp_path, story)


def test_what_cannot_work_is_said_and_what_is_there_stays(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        with object_server(ObjectStore()) as store:
            seen = 0

            def third(method: str, _target: str) -> None:
                nonlocal seen
                seen += method == "PUT"
                if seen == 3:
                    store.capacity = 0

            store.on_request = third
            operation = await house.finished(await house.exports.start([SOURCE], s3(store)))
            assert "full" in operation.error and operation.files[2].name in operation.error
            assert [file.progress for file in operation.files[:4]] == [1.0, 1.0, 0.0, 0.0]
            assert 0 < operation.progress < 1
            assert len(store.objects) == 2
            assert house.leases() == 0
            assert SECRET not in repr(operation)
            store.on_request = lambda _m, _t: None
            wrong = await house.finished(
                await house.exports.start([SOURCE], msgspec.structs.replace(s3(store), username="AKIDOTHER"))
            )
            assert "denied" in wrong.error
            assert (
                dict([e for e in house.events if e.topic == topics.OPERATION_STATUS][-1].data)["Error"] == wrong.error
            )

    play(tmp_path, story)


def test_stopped_while_the_destination_hangs(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        hangs, go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        with object_server(ObjectStore()) as store:

            def hang(_method: str, _target: str) -> None:
                if len(store.objects) == 1:
                    loop.call_soon_threadsafe(hangs.set)
                    go_on.wait(30)

            store.on_request = hang
            operation = await house.exports.start([SOURCE], s3(store))
            async with asyncio.timeout(30):
                await hangs.wait()
            deleted: list[str] = []

            async def delete() -> None:
                deleted.append("deleted")

            await house.operations.when_free(RECORDING, delete)
            assert deleted == []
            loop.call_later(0.2, go_on.set)
            stopped = await house.operations.stop(operation.token)
            assert stopped.finished
            assert deleted == ["deleted"], "5.21: what waited for the export is done"
            assert [file.progress for file in stopped.files[:2]] == [1.0, 0.0]
            assert house.leases() == 0

    play(tmp_path, story)


def test_what_is_refused(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        start = house.exports.start
        for expected, call in (
            ("format", start([SOURCE], LOCAL, file_format="ONVIF")),
            ("stop", start([SOURCE], LOCAL, start_ns=5, stop_ns=5)),
            ("path", start([SOURCE], LOCAL, folder="../up")),
            ("storage", start([SOURCE], Destination(token="s", type="NFS"))),
            ("storage", start([SOURCE], Destination(token="s", type="ObjectStorageS3", storage_uri="https://h/b"))),
        ):
            with pytest.raises(BadConfiguration) as refused:
                await call
            assert refused.value.argument == expected
        with pytest.raises(NothingRecorded):
            await start([SOURCE], LOCAL, start_ns=house.clock.realtime_ns() + NS)
        with pytest.raises(NothingRecorded):
            await start([Source(uuid.uuid4(), "other", ())], LOCAL)
        assert house.leases() == 0

    play(tmp_path, story)


def test_not_more_than_half_the_ring_and_not_too_many(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        with pytest.raises(BadConfiguration, match="half the ring"):
            await house.exports.start([SOURCE], LOCAL)
        some = house.start_ns + 2 * NS
        first = await house.exports.start([SOURCE], LOCAL, stop_ns=some)
        with pytest.raises(MaxExports):
            await house.exports.start([SOURCE], LOCAL, stop_ns=some)
        await house.finished(first)
        await house.finished(await house.exports.start([SOURCE], LOCAL, stop_ns=some))

    play(tmp_path, story, slots=12, limits=Limits(waiting_operations=1))


def test_a_trial(tmp_path: Path) -> None:
    async def story(house: Bench) -> None:
        assert await house.exports.trial(LOCAL) == ""
        with object_server(ObjectStore()) as store:
            assert await house.exports.trial(s3(store)) == ""
            assert "403" in await house.exports.trial(msgspec.structs.replace(s3(store), username="AKIDOTHER"))
            assert store.objects == {}
        assert "refused" in await house.exports.trial(s3(store)), "the connection is"

    play(tmp_path, story)


def test_files_are_cut_at_multiples_of_their_length() -> None:
    hour = 3600 * NS
    noon = 494_000 * hour
    recorded = [
        (noon - 600 * NS, noon + 2 * hour),
        (noon + 2 * hour + NS, noon + 2 * hour + 2 * NS),
        (noon + 9 * hour, noon + 9 * hour + NS),
    ]
    files = files_of(SOURCE, recorded, 0, noon + 9 * hour + NS // 2, hour, "a/b", "m")
    assert [(f.start_ns - noon, f.stop_ns - noon, f.follows) for f in files] == [
        (-600 * NS, 0, False),
        (0, hour, True),
        (hour, 2 * hour, True),
        (2 * hour + NS, 2 * hour + 2 * NS, False),
        (9 * hour, 9 * hour + NS // 2, False),
    ]
    assert files[1].name == "a/b/door_20260510T080000Z_m.mp4"
    strange = Source(RECORDING, "../Tür 1\n", ())
    assert files_of(strange, recorded, noon, noon + hour, hour, "", "m")[0].name.startswith("T-r-1_2026")
    assert files_of(SOURCE, [], 0, hour, hour, "", "m") == []
