"""The table in tests/docs/onvif-recording.md names methods and tests that exist; every method has a row. With some rows' proofs."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import msgspec
import pytest

from recorderd.control.receivers import ReceiversFace
from recorderd.control.recordings import RecordingsFace
from recorderd.control.schedules import SchedulesFace
from recorderd.model.device import DeviceSettings
from recorderd.model.faults import CannotDelete, Fault
from recorderd.model.group import GroupSettings
from recorderd.model.job import JobRequest, SourceRequest
from recorderd.model.limits import Limits
from recorderd.model.receiver import ReceiverConfiguration
from recorderd.model.recording import RecordingConfiguration
from recorderd.model.streamoptions import BadStreamOptions, parse_stream_options, prebuffer_advice, prebuffer_faults
from recorderd.protocol import configuration, devices, events, exports, groups, jobs, receivers, recordings, schedules
from recorderd.protocol.interface import Interface
from recorderd.protocol.message import Nothing
from recorderd.recording import topics
from tests.recording.service_house import ServiceHouse, living
from tests.simulated_time import FakeClock, run_simulated

TABLE = Path(__file__).parent.parent / "docs" / "onvif-recording.md"
INTERFACES: list[Interface] = [
    m.INTERFACE for m in (configuration, devices, events, exports, groups, jobs, receivers, recordings, schedules)
]
METHODS = {f"{i.name.removeprefix('io.recorderd.')}.{m}" for i in INTERFACES for m in i.methods}


def rows() -> list[tuple[str, str, str]]:
    found = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if (
            line.startswith("|")
            and len(cells) == 3
            and cells[0] not in ("clause", "line")
            and not cells[0].startswith("---")
        ):
            found.append((cells[0], cells[1], cells[2]))
    return found


def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def test_every_row_names_a_method_and_a_test_that_exist() -> None:
    found = rows()
    assert len(found) > 120
    for demand, method, proof in found:
        assert method == "(rule)" or method in METHODS, f"{demand}: no method {method}"
        tests = re.findall(r"([\w./]+\.py)::(\w+)", proof)
        assert tests or proof.startswith("later: "), f"{demand}: neither a test nor a later step"
        for file, name in tests:
            path = (Path(__file__).parent / file).resolve()
            assert path.is_file(), f"{demand}: no file {file}"
            assert name in names_of_tests(path), f"{demand}: no test {name} in {file}"


def test_every_method_has_a_row() -> None:
    assert METHODS - {method for _, method, _ in rows()} == set()


def test_every_fault_capability_and_topic_of_the_code_has_its_row() -> None:
    """So that none is added without one."""
    demands = [demand for demand, _, _ in rows()]
    for fault in all_faults(Fault) - {Fault}:
        if not fault.__name__.startswith("_"):
            assert any(d.startswith(f"fault {fault.__name__}:") for d in demands), fault.__name__
    for field in recordings.Capabilities.__struct_fields__:
        assert any(f"(`{field}`)" in d for d in demands), field
    for name, topic in vars(topics).items():
        if name.isupper() and isinstance(topic, str):
            assert any(d == f"`{topic}`" for d in demands), topic


def test_every_clause_that_demands_something_has_a_row() -> None:
    """The clauses of sections 4, 5 and Annex A in which the text says *shall*, or describes an operation, an event or an example."""
    clauses = [
        "4.1.1", "4.1.2", "4.1.3", "5.1", "5.2", "5.3.1", "5.3.2", "5.3.3", "5.3.4", *(f"5.{n}" for n in range(4, 26)),
        "5.26.1", "5.26.2", "5.26.3", "5.26.4", "5.27.1", "5.27.2", "Annex A",
    ]  # fmt: skip
    demands = [demand for demand, _, _ in rows()]
    for clause in clauses:
        assert any(d.startswith(f"{clause} ") or f", {clause} " in d for d in demands), clause


def all_faults(kind: type[Fault]) -> set[type[Fault]]:
    return {kind}.union(*(all_faults(sub) for sub in kind.__subclasses__()))


def test_capabilities_are_made_from_the_limits(tmp_path: Path) -> None:
    limits = Limits(
        recordings=7,
        jobs=9,
        receivers=5,
        schedules=3,
        before_ms=20_000,
        max_rate_kbps=16_000,
        max_total_rate_kbps=32_000,
    )
    house = ServiceHouse(FakeClock(), tmp_path / "s", limits=limits)
    recording = asyncio.run(RecordingsFace(service=house.service)._get_capabilities(Nothing(), None))  # type: ignore[arg-type]
    assert msgspec.structs.asdict(recording) == {
        "dynamic_recordings": True, "dynamic_tracks": True, "encodings": ["H264", "H265", "JPEG", "AV1", "AAC", "G711", "G726", "opus"],
        "max_rate_kbps": 16_000.0, "max_total_rate_kbps": 32_000.0, "max_recordings": 7, "max_recording_jobs": 9, "options": True,
        "metadata_recording": True, "export_file_formats": ["MP4"], "scheduled_recording": True, "event_recording": True,
        "before_event_limit_ms": 20_000, "after_event_limit_ms": 3_600_000, "target_formats": [], "encryption_entry_limit": 8,
        "encryption_modes": [], "override_segment_duration": False,
    }  # fmt: skip
    receiver = asyncio.run(ReceiversFace(service=house.service)._get_capabilities(Nothing(), None))  # type: ignore[arg-type]
    assert receiver.supported_receivers == 5
    schedule = asyncio.run(SchedulesFace(service=house.service)._get_capabilities(Nothing(), None))  # type: ignore[arg-type]
    assert (schedule.max_schedules, schedule.state_reporting) == (3, True)
    house.state.close()


def test_a_device_that_a_job_uses_is_kept(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            await service.create_device("cam", DeviceSettings(address="192.0.2.1"))
            receiver = await service.create_receiver(ReceiverConfiguration(media_uri="rtsp://192.0.2.1/s"))
            recording = await service.create_recording(RecordingConfiguration())
            job = await service.create_job(
                JobRequest(recording=recording.token, sources=(SourceRequest(token=receiver.token),))
            )
            with pytest.raises(CannotDelete):
                await service.delete_device("cam")
            await service.delete_job(job.token)
            await service.delete_device("cam")
            assert service.list_devices() == []
            assert house.cameras.forgotten == ["cam"], "what the device had stated no longer holds"

    run_simulated(main)


def test_groups_are_listed(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            await house.service.groups.create_group("", GroupSettings(nice_name="n"))
            (group,) = house.service.groups.list_groups()
            assert (group.id, group.nice_name) == ("group-1", "n")
            assert house.service.get_recording(group.recording).group == "group-1"

    run_simulated(main)


def test_stream_options_of_the_recorder_page() -> None:
    options = parse_stream_options("device=cam1")
    assert (options.device, options.audio, options.video) == ("cam1", False, True)
    assert dict(options.forwarded) == {
        "video": "1", "audio": "0", "resolution": "1920x1080", "fps": "30", "videokeyframeinterval": "64",
    }  # fmt: skip
    given = parse_stream_options("fps=15&device=cam1&audio=1&compression=30&fps=20&camera=2")
    assert given.forwarded[2:] == (
        ("resolution", "1920x1080"), ("videokeyframeinterval", "64"), ("compression", "30"), ("fps", "20"), ("camera", "2"),
    )  # fmt: skip
    assert parse_stream_options("device%3Dcam1%26fps%3D5").forwarded[-1] == ("fps", "5"), "percent-encoded as a whole"
    for bad in ("fps=5", "device=", "device=c&audio=yes", "device=c&x", "device=c&a b=1", "x" * 5000):
        with pytest.raises(BadStreamOptions):
            parse_stream_options(bad)
    fine = "device=c&videozgopmode=fixed&videokeyframeinterval=100&videozfpsmode=dynamic&videoframeskipmode=empty"
    forwarded = parse_stream_options(fine).forwarded
    assert (prebuffer_faults(forwarded), prebuffer_advice(forwarded)) == ((), ())
    for option, bad in (
        ("videozgopmode", "videozgopmode=dynamic"),
        ("videozfpsmode", "videozfpsmode=dynamic"),
        ("videozfpsmode", "videozfpsmode=dynamic&videoframeskipmode=drop"),
        ("videozfpsmode", "videozfpsmode=other"),
    ):
        ((name, text),) = prebuffer_faults(parse_stream_options(f"device=c&{bad}").forwarded)
        assert name == option
        assert text.startswith(f"with a pre-buffer {option}")
    (text,) = prebuffer_advice(parse_stream_options("device=c&videokeyframeinterval=101").forwarded)
    assert "at most 100" in text
