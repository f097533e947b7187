"""Devices, recordings, jobs and the rest through the control socket and `recorderctl`, as an operator has them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recorderd.control.dispatch import Dispatch
from recorderd.control.peer import AccessRules
from recorderd.control.recording_faces import recording_faces
from recorderd.control.server import ControlServer
from recorderd.ctl.main import main as recorderctl
from recorderd.ingest.service import Ingest
from recorderd.model.device import CertificateCheck, CertificateValidation
from recorderd.model.faults import BadConfiguration
from recorderd.model.media_ram import MediaRam
from recorderd.model.pem import as_text
from recorderd.recording.rules import certificates
from tests.peers.certificate import make_authority, needs_openssl
from tests.recording.service_house import ServiceHouse
from tests.simulated_time import FakeClock

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[ServiceHouse]:
    """A service behind a control socket, in a thread of its own."""
    made: list[ServiceHouse] = []
    up = threading.Event()
    stop: list[Callable[[], None]] = []

    async def serve() -> None:
        house = ServiceHouse(FakeClock(), tmp_path / "state")
        table = Dispatch()
        for face in recording_faces(service=house.service, broker=house.broker, clock=house.clock):
            face.bind(table)
        assert table.missing() == []
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "control"))
        listening.listen(16)
        server = ControlServer(dispatch=table, rules=AccessRules(None, None, os.geteuid()))
        tasks = [asyncio.create_task(server.serve(listening)), asyncio.create_task(house.service.run())]
        made.append(house)
        loop = asyncio.get_running_loop()
        stop.append(lambda: [loop.call_soon_threadsafe(t.cancel) for t in tasks] and None)
        up.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        house.state.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(10)
    yield made[0]
    stop[0]()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def run(
    house: ServiceHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    def call(*words: str, stdin: str = "", code: int = 0) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        got = recorderctl(["--socket", str(tmp_path / "control"), *words])
        captured = capsys.readouterr()
        assert got == code, captured.err or captured.out
        return got, captured.out if code == 0 else captured.err

    return call


def test_one_command_makes_a_continuous_recording(house: ServiceHouse, run: Run) -> None:
    _, said = run(
        "devices", "add", "rtsp://root@192.0.2.10/stream1", "--record", "--password-stdin", stdin="pass:w@rd\n"
    )
    assert "recorded continuously into recording-1 by job-1" in said
    (request,) = house.source.requests.values()
    assert (request.uri, request.username, request.password) == ("rtsp://192.0.2.10/stream1", "root", "pass:w@rd")
    assert "pass" not in repr(request)
    _, listed = run("devices", "list")
    assert "192.0.2.10" in listed
    for words in (("devices", "show", "192.0.2.10"), ("jobs", "list"), ("recordings", "list"), ("receivers", "list")):
        _, out = run(*words)
        assert "pass:w@rd" not in out
        _, out = run("--json", *words)
        json.loads(out)
        assert "pass:w@rd" not in out
    assert "pass:w@rd" not in repr(house.events)


def test_userinfo_in_the_url_moves_to_the_secrets(house: ServiceHouse, run: Run) -> None:
    run("devices", "add", "rtsp://u:se%20cret@192.0.2.11:8554/a?x=1", "--id", "door", "--record")
    (request,) = house.source.requests.values()
    assert (request.uri, request.username, request.password) == ("rtsp://192.0.2.11:8554/a?x=1", "u", "se cret")
    assert "cret" not in run("--json", "receivers", "list")[1]


def test_one_command_makes_an_event_recording(house: ServiceHouse, run: Run) -> None:
    _, said = run(
        "devices", "add", "rtsp://192.0.2.12/s", "--id", "yard", "--on-motion", "--before", "5", "--after", "10"
    )
    assert "when it reports motion" in said
    (job,) = house.service.list_jobs()
    event_filter = job.configuration.event_filter
    assert event_filter is not None
    assert (event_filter.before_ms, event_filter.after_ms) == (5000, 10_000)
    assert house.service.get_device("yard").events_enabled
    (request,) = house.source.requests.values()
    assert request.prebuffer_s == 5.0
    run(
        "events", "emit", "tns1:RuleEngine/tnsaxis:UniversalMotionDetection",
        "--source", "device=yard", "--data", "active=1", "--property",
    )  # fmt: skip
    assert len(house.store.running()) == 1
    _, found = run("events", "search", "--where", "device=yard")
    assert "active=1" in found
    assert "Initialized" in found
    _, state = run("events", "state", "--topic", "tns1:RuleEngine//.")
    assert state.count("\n") == 1


def test_a_pre_buffer_that_does_not_fit_is_said_at_once(
    house: ServiceHouse, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest(clock=house.clock, media_ram=MediaRam(8 << 20))
    monkeypatch.setattr(house.source, "prebuffer_fits", ingest.prebuffer_fits)
    said = run("devices", "add", "rtsp://192.0.2.13/s", "--id", "gate", "--on-motion", "--before", "60")[1]
    assert "warning: receiver-1: a pre-buffer of 60 s needs about" in said
    assert "limits.media_ram" in said
    assert "warning" in run("jobs", "set", "job-1")[1]
    assert "warning" not in run("jobs", "set", "job-1", "--always")[1]
    replied = json.loads(run("--json", "jobs", "set", "job-1", "--on", "tns1:Device//.", "--before", "50")[1])
    assert [text.split(" needs")[0] for text in replied["warnings"]] == ["receiver-1: a pre-buffer of 50 s"]
    assert "warning" not in run("devices", "add", "rtsp://192.0.2.14/s", "--id", "shed", "--record")[1]
    created = run(
        "jobs", "create", "gate", "--receiver", "receiver-1", "--on", "tns1:Device//.", "--before", "40", "--idle"
    )
    assert "a pre-buffer of 50 s" in created[1], "an idle job's too; the longest that the receiver is asked for counts"
    assert "warning: receiver-1: a pre-buffer of 50 s" in run("jobs", "start", "job-1")[1]
    assert run("jobs", "stop", "job-1")[1] == ""


def test_a_groups_pre_buffer_that_does_not_fit_is_said_at_once(
    house: ServiceHouse, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest(clock=house.clock, media_ram=MediaRam(8 << 20))
    monkeypatch.setattr(house.source, "prebuffer_fits", ingest.prebuffer_fits)
    run("devices", "add", "rtsp://192.0.2.20/s", "--id", "front")
    options = "device=front&fps=15"
    assert "a pre-buffer of 60 s" in run("groups", "create", "g", "--before", "60", "--options", options)[1]
    assert "warning" not in run("groups", "set", "g", "--before", "0")[1]
    assert "warning" not in run("groups", "start", "g", "--on", "tns1:Device//.")[1]
    assert "a pre-buffer of 50 s" in run("groups", "set", "g", "--before", "50", "--after", "7")[1]
    listens = house.service.get_job(house.service.groups.get_group("g").job).configuration.event_filter
    assert listens is not None
    assert (listens.before_ms, listens.after_ms) == (50_000, 7_000), (
        "a group that listens does so with its new durations"
    )
    assert "a pre-buffer of 50 s" in run("groups", "start", "g", "--on", "tns1:Device//.")[1]


def test_new_hardware_under_an_old_device(house: ServiceHouse, run: Run) -> None:
    run("devices", "add", "rtsp://192.0.2.13/s", "--id", "gate", "--record")
    run("devices", "set", "gate", "--serial", "B8A44F000001", "--mac", "b8-a4-4f-00-00-01", "--model", "P3245")
    before = house.service.list_recordings()
    run("devices", "replace", "gate", "--address", "192.0.2.99", "--serial", "B8A44F000002")
    device = house.service.get_device("gate")
    assert (device.address, device.serial_number, device.mac) == ("192.0.2.99", "B8A44F000002", "")
    assert device.replaced[0].startswith("B8A44F000001 b8:a4:4f:00:00:01 P3245 ")
    assert house.service.list_recordings() == before, "the recording and its history stay"
    (request,) = house.source.requests.values()
    assert request.uri == "rtsp://192.0.2.99/s"


def test_the_common_errors_are_said_in_words(run: Run) -> None:
    assert "no device 'nobody'" in run("devices", "show", "nobody", code=1)[1]
    assert "media_uri" in run("receivers", "create", "--url", "http:///x", code=1)[1]
    assert "no recording 'x'" in run("jobs", "create", "x", "--receiver", "r", code=1)[1]
    run("recordings", "create", "--name", "yard")
    assert "there is no receiver" in run("jobs", "create", "yard", "--receiver", "r", code=1)[1]
    assert "confirm with --yes" in run("recordings", "remove", "yard", code=1)[1]


def test_recordings_tracks_locks_and_erasing(house: ServiceHouse, run: Run) -> None:
    run("recordings", "create", "--name", "yard", "--keep-days", "30", "--content", "the yard")
    assert "VIDEO001" in run("recordings", "list")[1]
    run("recordings", "set", "yard", "--keep-days", "7")
    (recording,) = house.service.list_recordings()
    assert recording.configuration.maximum_retention_ms == 7 * 86_400_000
    assert recording.configuration.content == "the yard"
    assert house.archive.retention[recording.id].maximum_ns == 7 * 86_400 * 10**9
    run("tracks", "create", "yard", "Video", "--description", "low")
    assert "VIDEO002" in run("tracks", "list", "yard")[1]
    run("tracks", "set", "yard", "VIDEO002", "--description", "lower")
    assert "lower" in run("tracks", "list", "yard")[1]
    assert (
        "lock 1" in run("locks", "add", "yard", "2026-05-04T12:00:00Z", "2026-05-04T13:00:00Z", "--reason", "theft")[1]
    )
    assert "theft" in run("locks", "list", "yard")[1]
    assert "kept by lock 1" in run("recordings", "remove", "yard", "--yes", code=1)[1]
    assert len(house.service.list_recordings()) == 1, "a refused deletion deletes nothing"
    run("locks", "remove", "1")
    run("recordings", "erase", "yard", "--track", "VIDEO001", "--from", "2026-05-04T12:00:00Z", "--yes")
    assert house.archive.deleted[-1][1] == recording.tracks[0].id
    assert "confirm" in run("recordings", "remove", "yard", code=1)[1]
    run("tracks", "remove", "yard", "VIDEO002", "--yes")
    run("recordings", "remove", "yard", "--yes")
    assert house.service.list_recordings() == []
    assert house.archive.deleted[-1][0] == recording.id


def test_jobs_and_schedules(house: ServiceHouse, run: Run) -> None:
    run("recordings", "create", "--name", "yard")
    run("receivers", "create", "--url", "rtsp://192.0.2.1/a", "--option", "fps=15", "--audio", "off")
    run(
        "schedules",
        "set",
        "office",
        "--weekly",
        "mon-fri 08:00-18:00",
        "--weekly",
        "sat 22:00-02:00",
        "--zone",
        "Europe/Berlin",
    )
    assert "office" in run("schedules", "list")[1]
    run("schedules", "days", "holidays", "2026-12-24", "2026-12-25")
    run("schedules", "set", "office", "--weekly", "mon-fri 08:00-18:00", "--special", "holidays=10:00-12:00")
    assert "holidays" in run("schedules", "show", "office")[1]
    assert "uses it" in run("schedules", "remove-days", "holidays", code=1)[1]
    run("jobs", "create", "yard", "--receiver", "receiver-1:VIDEO001", "--schedule", "office", "--priority", "3")
    assert "schedule office" in run("jobs", "list")[1]
    run("jobs", "stop", "job-1")
    run("jobs", "set", "job-1", "--priority", "4", "--on", "tns1:VideoSource/MotionAlarm", "--before", "2")
    job = house.service.get_job("job-1")
    assert job.configuration.priority == 4
    assert job.configuration.event_filter is not None
    run("jobs", "start", "job-1")
    assert "VIDEO001" in run("jobs", "show", "job-1")[1]
    assert "job-1 uses it" in run("receivers", "remove", "receiver-1", code=1)[1]
    run("jobs", "remove", "job-1")
    run("receivers", "set", "receiver-1", "--url", "rtsp://192.0.2.1/b")
    run("receivers", "mode", "receiver-1", "NeverConnect")
    run("receivers", "remove", "receiver-1")
    run("schedules", "remove", "office")
    run("schedules", "remove-days", "holidays")


def test_groups(house: ServiceHouse, run: Run) -> None:
    run("devices", "add", "rtsp://192.0.2.20/ignored", "--id", "front")
    assert "no device" in run("groups", "create", "g", "--options", "device=none", code=1)[1]
    _, said = run(
        "groups", "create", "g", "--name", "Front", "--before", "5",
        "--options", "device=front&resolution=1280x720&videokeyframeinterval=120&videozgopmode=fixed&fps=15",
    )  # fmt: skip
    assert said.count("warning") == 1, "a GOP of 120 frames is long for a pre-buffer"
    for option in ("videozfpsmode=dynamic", "videozgopmode=dynamic"):
        refused = run("groups", "create", "h", "--before", "5", "--options", f"device=front&{option}", code=1)[1]
        assert f"with a pre-buffer {option.partition('=')[0]}" in refused
        run("groups", "create", "h", "--options", f"device=front&{option}")
        assert "with a pre-buffer" in run("groups", "set", "h", "--before", "5", code=1)[1]
        run("groups", "remove", "h", "--yes")
    run("groups", "start", "g")
    request = next(r for r in house.source.requests.values())
    assert request.uri == "rtsp://192.0.2.20/axis-media/media.amp"
    assert request.options[:2] == (("video", "1"), ("audio", "0"))
    assert ("resolution", "1280x720") in request.options
    assert not any(name == "device" for name, _ in request.options), "device is for the recorder, not for the camera"
    assert "is active" in run("groups", "remove", "g", "--yes", code=1)[1]
    assert "cannot be changed" in run("groups", "set", "g", "--disk", "other", code=1)[1]
    run("groups", "stop", "g")
    run("groups", "set", "g", "--keep-hours", "24")
    assert (
        house.service.get_recording(house.service.groups.get_group("g").recording).configuration.maximum_retention_ms
        == 86_400_000
    )
    run("groups", "remove", "g", "--yes")
    assert house.service.list_recordings() == []


def test_storages(house: ServiceHouse, run: Run) -> None:
    add = ("storages", "add")
    run(*add, "s3", "https://s3.example/bucket", "--user", "AKIA", "--password-stdin", stdin="sEcReT\n")
    assert house.state.secret("destination", "storage-1", "password") == "sEcReT"
    run(*add, "folder", "cases/")
    run(*add, "http", "https://nas.example:8443/up", "--certificate", "sha256:" + "0f" * 32)
    assert [d.type for d in house.service.list_destinations()] == ["ObjectStorageS3", "Local", "HTTP"]
    for words, said in (
        (("s3", "https://u:p@s3.example/bucket"), "apart"),
        (("s3", "ftp://s3.example/bucket"), "https://"),
        (("s3", "https://s3.example:99999/"), "https://"),
        (("s3", "https://s3.example/b?x=1"), "https://"),
        (("folder", "../elsewhere"), "folder/folder"),
        (("http", "http://nas.example/up", "--user", "u", "--password-stdin"), "https://"),
        (("http", "https://nas.example/up", "--certificate", "sha256:00"), "64 hexadecimal"),
        (("Azure", "https://nas.example/up"), "none of"),
    ):
        code = 64 if said == "none of" else 1
        assert said in run(*add, *words, stdin="x\n", code=code)[1]
    run("storages", "set", "storage-1", "--region", "eu-1")
    changed = house.service.get_destination("storage-1")
    assert (changed.region, changed.username, changed.storage_uri) == ("eu-1", "AKIA", "https://s3.example/bucket")
    assert house.state.secret("destination", "storage-1", "password") == "sEcReT", "what is not given stays"
    for words in (("storages", "list"), ("storages", "show", "storage-1")):
        for form in ((), ("--json",)):
            out = run(*form, *words)[1]
            assert "storage-1" in out
            assert "sEcReT" not in out
    assert "password" in run("storages", "show", "storage-1")[1], "that one is set is told"
    run("storages", "remove", "storage-1")
    assert house.state.secret("destination", "storage-1", "password") is None
    assert "storage-1" in run("storages", "show", "storage-1", code=1)[1]


def fingerprint_by_openssl(pem: Path) -> str:
    words = ("openssl", "x509", "-in", str(pem), "-noout", "-fingerprint", "-sha256")
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return "sha256:" + said.partition("=")[2].strip().replace(":", "").lower()


@needs_openssl
def test_the_authorities_of_a_device(house: ServiceHouse, run: Run, tmp_path: Path) -> None:
    ours, other = make_authority(tmp_path, "ours"), make_authority(tmp_path, "other")
    both = tmp_path / "both.pem"
    of_windows = ours.text.replace("\n", "\r\n")
    both.write_bytes(f"# ours\n{of_windows}# theirs: \xe9\n{other.text}{ours.text}".encode("latin-1"))
    add = ("devices", "add", "rtsps://192.0.2.9/s", "--id", "gate", "--record", "--ca-file", str(both))
    assert "expected standard or limited where CA certificates are given" in run(*add, code=1)[1]
    assert house.service.list_devices() == [], "nothing half done"
    run(*add, "--certificates", "standard")
    device = house.service.get_device("gate")
    assert device.ca_certificates == (ours.text, other.text), "each once, and nothing around it"
    (request,) = house.source.requests.values()
    assert request.certificates == CertificateCheck(CertificateValidation.STANDARD, (ours.text, other.text))
    shown = json.loads(run("--json", "devices", "show", "gate")[1])["device"]
    assert shown["ca_fingerprints"] == [fingerprint_by_openssl(each.pem) for each in (ours, other)]
    run("devices", "set", "gate", "--ca-file", str(other.pem))
    assert house.service.get_device("gate").ca_certificates == (other.text,), "the whole list is replaced"
    run("devices", "set", "gate", "--description", "north")
    assert house.service.get_device("gate").ca_certificates == (other.text,), "what is not given stays"
    run("devices", "set", "gate", "--ca-file", "none")
    assert house.service.get_device("gate").ca_certificates == ()


@needs_openssl
def test_files_that_hold_no_authority(house: ServiceHouse, run: Run, tmp_path: Path) -> None:
    run("devices", "create", "gate", "--certificates", "standard")
    good = make_authority(tmp_path, "ours")
    file = tmp_path / "given.pem"
    der = ssl.PEM_cert_to_DER_cert(good.text)
    for text, said, code in (
        ("", "no certificate in PEM", 64),
        (good.text + good.key.read_text(), "private key", 64),
        (good.text.replace("-----END", "-----"), "has no end", 64),
        (good.text.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "plain CERTIFICATE", 64),
        (good.text.replace("CERTIFICATE", "X509 CRL"), "X509 CRL where a CERTIFICATE", 64),
        (good.text.replace("MII", "M*I", 1), "not base64", 64),
        ("x" * 100_000, "more than 64 KiB", 64),
        (as_text(der[:-9]), "not X.509", 1),
        (as_text(der[:40] + bytes(len(der) - 40)), "damaged", 1),
        (as_text(der + der), "more behind it", 1),
        (as_text(der + b"\0"), "more behind it", 1),
        (as_text(b""), "not X.509", 1),
        (as_text(b"\x30\x80"), "not X.509", 1),
        ("".join(as_text(der + bytes([n])) for n in range(17)), "at most 16", 1),
    ):
        file.write_text(text)
        got = run("devices", "set", "gate", "--ca-file", str(file), code=code)[1]
        assert said in got, (said, got)
        assert "MII" not in got
    assert "No such file" in run("devices", "set", "gate", "--ca-file", "nowhere.pem", code=64)[1]
    long = [make_authority(tmp_path, f"long-{n}", padding=4000).text for n in range(3)]
    file.write_text("".join(long))
    assert "at most 16384 bytes" in run("devices", "set", "gate", "--ca-file", str(file), code=1)[1]
    with pytest.raises(BadConfiguration, match="several certificates where one"):
        certificates.checked((long[0] + long[1],))
    assert house.service.get_device("gate").ca_certificates == ()


def test_watching_events(house: ServiceHouse, run: Run) -> None:
    run("recordings", "create", "--name", "yard")
    run("receivers", "create", "--url", "rtsp://192.0.2.1/a")
    run("jobs", "create", "yard", "--receiver", "receiver-1")
    _, out = run("events", "watch", "--topic", "tns1:RecordingConfig/JobState", "--count", "1")
    assert "RecordingJobToken=job-1" in out
    assert "(Initialized)" in out


def test_a_job_on_events_says_what_its_streams_options_do_to_the_pre_buffer(house: ServiceHouse, run: Run) -> None:
    run("receivers", "create", "--url", "rtsp://192.0.2.1/a", "--option", "videozgopmode=dynamic")
    run("recordings", "create", "--name", "gate")
    job = ("jobs", "create", "recording-1", "--receiver", "receiver-1", "--idle", "--on", "tns1:Device//.")
    assert "videozgopmode" not in run(*job)[1]
    assert "warning: receiver-1: with a pre-buffer videozgopmode must be fixed" in run(*job, "--before", "5")[1]
