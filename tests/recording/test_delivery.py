"""A file through the delivery worker to each kind of destination, with everything going wrong that does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorderd.protocol.delivery import Access, Deliver, Delivered, Place, Problem, Waiting
from recorderd.recording.delivery import Delivery, DeliveryFailed
from tests.peers.certificate import make_certificate, needs_openssl
from tests.peers.object_server import KEY, REGION, SECRET, Fault, ObjectStore, object_server

FILE = random.Random(5).randbytes(12_000_000)  # three parts of S3's smallest size
SMALL = FILE[:70_000]
PART = 5 << 20
NAME = "door/2026-11-08/15 08.mp4"
Told = list[Delivered | Waiting]


def s3(store: ObjectStore, **changes: object) -> Deliver:
    fields: dict[str, object] = {
        "place": Place.S3, "root": f"{store.url}/bucket/site%202", "name": NAME, "region": REGION,
        "access": Access(KEY, SECRET), "part_bytes": PART, "patience_s": 20.0,
    }  # fmt: skip
    return Deliver(**(fields | changes))  # type: ignore[arg-type]


def send(work: Deliver, data: bytes = FILE, *, stop_after: int | None = None) -> tuple[int, Told]:
    """Delivers in uneven pieces; `stop_after` bytes it is given up."""

    async def main() -> tuple[int, Told]:
        told: Told = []
        delivery = await Delivery.start(work, told.append)
        try:
            sent = 0
            while sent < len(data):
                piece = data[sent : sent + 700_001]
                await delivery.write(piece)
                sent += len(piece)
                if stop_after is not None and sent >= stop_after:
                    return 0, told
            return await delivery.finish(), told
        finally:
            await delivery.aclose()

    return asyncio.run(main())


def failure(work: Deliver, data: bytes = FILE) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as raised:
        send(work, data)
    assert SECRET not in raised.value.reason
    return raised.value


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with object_server(ObjectStore()) as held:
        yield held


def test_small_and_large_objects(store: ObjectStore) -> None:
    assert send(s3(store), SMALL)[0] == len(SMALL)
    assert [row[::2] for row in store.seen] == [("PUT", 200)]
    count, told = send(s3(store, name="large.mp4"))
    assert count == len(FILE)
    assert store.objects == {
        "/bucket/site%202/door/2026-11-08/15%2008.mp4": SMALL,
        "/bucket/site%202/large.mp4": FILE,
    }
    assert set(store.types.values()) == {"video/mp4"}
    assert [t.bytes for t in told if isinstance(t, Delivered)] == [PART, 2 * PART, len(FILE)]
    assert store.uploads == {}


def test_parts_end_exactly_at_the_end(store: ObjectStore) -> None:
    for size in (0, PART, 2 * PART):
        assert send(s3(store, name=f"{size}"), FILE[:size])[0] == size
        assert store.objects[f"/bucket/site%202/{size}"] == FILE[:size]


def test_an_interruption_costs_one_part(store: ObjectStore) -> None:
    """Every kind of passing failure at every step: each is tried again, and no part that arrived is sent twice."""
    store.faults += [
        Fault("POST", "uploads", reset="early"),
        Fault("PUT", "partNumber=1", status=503, code="SlowDown", retry_after="1"),
        Fault("PUT", "partNumber=2", reset="middle"),
        Fault("PUT", "partNumber=2", reset="after"),
        Fault("PUT", "partNumber=3", status=500),
        Fault("POST", "uploadId", status=503),
        Fault("POST", "uploadId", reset="after"),
    ]
    count, told = send(s3(store, patience_s=60.0))
    assert (count, store.faults, store.uploads) == (len(FILE), [], {})
    assert store.objects["/bucket/site%202/door/2026-11-08/15%2008.mp4"] == FILE
    waits = [t for t in told if isinstance(t, Waiting)]
    assert len(waits) == 7
    assert waits[1].seconds >= 1.0, "Retry-After is honoured"
    assert "503" in waits[1].reason and "SlowDown" in waits[1].reason
    parts = [target.partition("partNumber=")[2][:1] for method, target, status in store.seen if method == "PUT"]
    assert parts == ["1", "1", "2", "2", "2", "3", "3"]


def test_an_error_in_an_answer_of_200_is_an_error(store: ObjectStore) -> None:
    """CompleteMultipartUpload may begin its answer before it knows (AWS)."""
    store.faults.append(Fault("POST", "uploadId", status=200, code="InternalError"))
    count, told = send(s3(store))
    assert (count, store.uploads, len(store.objects)) == (len(FILE), {}, 1)
    assert len([t for t in told if isinstance(t, Waiting)]) == 1


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault("PUT", "partNumber=2", status=403, code="AccessDenied"), Problem.DENIED),
        (Fault("PUT", "partNumber=2", status=507, code="XMinioStorageFull"), Problem.FULL),
        (Fault("PUT", "partNumber=2", status=400, code="InvalidArgument"), Problem.REFUSED),
        (Fault("POST", "uploads", status=404, code="NoSuchBucket"), Problem.ABSENT),
        (Fault("POST", "uploads", status=301, code="PermanentRedirect"), Problem.REFUSED),
        (Fault("POST", "uploadId", status=200 + 200, code="InvalidPart"), Problem.REFUSED),
    ],
)
def test_what_cannot_be_mended_ends_at_once_and_leaves_nothing(
    fault: Fault, problem: Problem, store: ObjectStore
) -> None:
    store.faults.append(fault)
    found = failure(s3(store))
    assert found.problem is problem
    assert fault.code in found.reason
    assert (store.objects, store.uploads) == ({}, {})


def test_wrong_credentials(store: ObjectStore) -> None:
    wrong = failure(s3(store, access=Access(KEY, "another secret")))
    assert (wrong.problem, store.objects) == (Problem.DENIED, {})
    assert "SignatureDoesNotMatch" in wrong.reason


def test_patience_ends(store: ObjectStore) -> None:
    store.faults += [Fault("PUT", status=503)] * 50
    found = failure(s3(store, patience_s=2.0), SMALL)
    assert (found.problem, store.objects) == (Problem.PASSING, {})
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused = failure(s3(store, root=f"http://127.0.0.1:{nobody.getsockname()[1]}/b", patience_s=1.0), SMALL)
    assert refused.problem is Problem.PASSING


def test_given_up_uploads_are_taken_back(store: ObjectStore) -> None:
    send(s3(store), stop_after=8_000_000)
    assert (store.objects, store.uploads) == ({}, {})
    assert store.seen[-1][::2] == ("DELETE", 204)


@needs_openssl
def test_certificates(tmp_path: Path) -> None:
    both = make_certificate(tmp_path)
    der = subprocess.run(
        ["openssl", "x509", "-in", str(both), "-outform", "DER"], check=True, capture_output=True
    ).stdout
    with object_server(ObjectStore(), both) as store:
        unknown = failure(s3(store), SMALL)
        assert (unknown.problem, store.seen) == (Problem.CERTIFICATE, [])
        other = failure(s3(store, certificate="00" * 32), SMALL)
        assert (other.problem, store.seen) == (Problem.CERTIFICATE, []), (
            "nothing is sent to another than the one pinned"
        )
        name = failure(s3(store, ca_file=str(both), root=store.url.replace("127.0.0.1", "localhost")), SMALL)
        assert (name.problem, store.seen) == (Problem.CERTIFICATE, [])
        assert failure(s3(store, ca_file="/nowhere/ca.pem"), SMALL).problem is Problem.CERTIFICATE
        assert send(s3(store, certificate=hashlib.sha256(der).hexdigest()), SMALL)[0] == len(SMALL)
        assert send(s3(store, ca_file=str(both)))[0] == len(FILE), "payloads are not signed where TLS protects them"


def test_plain_put(store: ObjectStore) -> None:
    store.signed = False
    work = s3(store, place=Place.HTTP, access=Access())
    store.faults += [Fault("PUT", status=503, retry_after="1"), Fault("PUT", reset="early")]
    count, told = send(work, SMALL)
    assert (count, store.objects[f"/bucket/site%202/{NAME.replace(' ', '%20')}"]) == (len(SMALL), SMALL)
    assert len([t for t in told if isinstance(t, Waiting)]) == 2, "the first piece can be sent again"
    assert send(s3(store, place=Place.HTTP, access=Access(), name="large"))[0] == len(FILE)
    assert store.objects["/bucket/site%202/large"] == FILE
    store.faults.append(Fault("PUT", reset="middle"))
    assert failure(s3(store, place=Place.HTTP, access=Access(), name="cut")).problem is Problem.PASSING
    assert "/bucket/site%202/cut" not in store.objects
    password = failure(s3(store, place=Place.HTTP, access=Access("u", SECRET)), SMALL)
    assert password.problem is Problem.DENIED, "no password without TLS"


@needs_openssl
def test_plain_put_with_a_password(tmp_path: Path) -> None:
    both = make_certificate(tmp_path)
    with object_server(ObjectStore(signed=False, basic="u:pä:ss"), both) as store:
        fields = {"place": Place.HTTP, "ca_file": str(both)}
        assert send(s3(store, **fields, access=Access("u", "pä:ss")), SMALL)[0] == len(SMALL)
        assert failure(s3(store, **fields, access=Access("u", "wrong")), SMALL).problem is Problem.DENIED


def test_a_trial_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    send(s3(store, trial=True), b"trial")
    store.signed = False
    send(s3(store, place=Place.HTTP, access=Access(), trial=True), b"trial")
    send(Deliver(Place.FOLDER, str(tmp_path), "t/trial.mp4", trial=True), b"trial")
    assert store.objects == {}
    assert [row[::2] for row in store.seen] == [
        ("PUT", 200), ("DELETE", 204), ("PUT", 201), ("HEAD", 200), ("DELETE", 204)
    ]  # fmt: skip
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_folder(tmp_path: Path) -> None:
    work = Deliver(Place.FOLDER, str(tmp_path), NAME)
    count, told = send(work)
    assert (count, (tmp_path / NAME).read_bytes()) == (len(FILE), FILE)
    assert [t.bytes for t in told if isinstance(t, Delivered)][-1] == len(FILE)
    again = failure(work, SMALL)
    assert again.problem is Problem.REFUSED
    assert (tmp_path / NAME).read_bytes() == FILE, "what is there stays"
    send(Deliver(Place.FOLDER, str(tmp_path), "half.mp4"), stop_after=5_000_000)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["15 08.mp4"]


def test_what_a_crash_left_half_written_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    first, second = (f"d/door_20261108T15000{n}Z_0123abcd.mp4" for n in range(2))

    async def main() -> None:
        told: Told = []
        begun = await Delivery.start(Deliver(Place.FOLDER, str(tmp_path), first), told.append)
        try:
            for start in range(0, len(FILE), 1_000_000):
                await begun.write(FILE[start : start + 1_000_000])
            killed = await Delivery.start(Deliver(Place.FOLDER, str(tmp_path), second), told.append)
            for start in range(0, len(FILE), 1_000_000):
                await killed.write(FILE[start : start + 1_000_000])
            parts = {p.name for p in (tmp_path / "d").iterdir()}
            assert parts == {f".{name[2:]}.part" for name in (first, second)}
            os.kill(killed.pid, 9)
            await killed.aclose()
            (tmp_path / "d/.own.part").write_bytes(b"somebody else's")
            await asyncio.to_thread(send, Deliver(Place.FOLDER, str(tmp_path), f"d/{NAME[-6:]}"), SMALL)
            parts = {p.name for p in (tmp_path / "d").iterdir()}
            assert parts == {f".{first[2:]}.part", ".own.part", NAME[-6:]}
            assert await begun.finish() == len(FILE)
        finally:
            await begun.aclose()
        assert (tmp_path / first).read_bytes() == FILE

    asyncio.run(main())


def test_nothing_outside_the_folder_is_written(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "file").write_bytes(b"")
    for name in ("link/a.mp4", "file/a.mp4"):
        assert failure(Deliver(Place.FOLDER, str(inside), name), SMALL).problem is Problem.REFUSED
    assert list(outside.iterdir()) == []


def test_a_disk_for_exports_that_is_not_there_is_said(tmp_path: Path) -> None:
    absent = failure(Deliver(Place.FOLDER, str(tmp_path / "absent"), "a.mp4"), SMALL)
    assert (absent.problem, absent.reason) == (
        Problem.ABSENT, f"the folder for exports, {tmp_path / 'absent'}, does not exist"
    )  # fmt: skip
    unmounted = failure(Deliver(Place.FOLDER, str(tmp_path), "a.mp4", own_file_system=True), SMALL)
    assert (unmounted.problem, unmounted.reason) == (
        Problem.ABSENT, f"no disk for exports is mounted at {tmp_path}"
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_folder(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=True)
    try:
        assert failure(Deliver(Place.FOLDER, str(small), "a/b.mp4")).problem is Problem.FULL
        assert [p for p in small.rglob("*") if p.is_file()] == []
        assert send(Deliver(Place.FOLDER, str(small), "b.mp4", own_file_system=True), SMALL)[0] == len(SMALL)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_worker_that_is_killed_is_said(store: ObjectStore) -> None:
    async def main() -> None:
        delivery = await Delivery.start(s3(store), lambda _: None)
        try:
            os.kill(delivery.pid, 9)
            with pytest.raises(DeliveryFailed) as raised:
                for _ in range(100):
                    await delivery.write(FILE[:1_000_000])
            assert raised.value.problem is Problem.PASSING
        finally:
            await delivery.aclose()

    asyncio.run(main())


def test_memory_is_bounded_by_a_part_and_secrets_are_not_on_the_command_line(store: ObjectStore) -> None:
    async def main() -> None:
        seen: list[int] = []
        lines: list[bytes] = []
        delivery = await Delivery.start(s3(store), lambda _: note())

        def note() -> None:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{delivery.pid}/status").read_text()
                seen.append(int(status.partition("VmHWM:")[2].split()[0]))
                lines.append(Path(f"/proc/{delivery.pid}/cmdline").read_bytes())

        try:
            for _ in range(60):
                await delivery.write(FILE[:1_000_000])
            assert await delivery.finish() == 60_000_000
        finally:
            await delivery.aclose()
        assert len(seen) >= 10
        assert max(seen) - seen[0] < 8 << 10, "KiB beyond the first part, whatever the file's size"
        assert all(SECRET.encode() not in line for line in lines)

    asyncio.run(main())
