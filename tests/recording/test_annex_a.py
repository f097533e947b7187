"""Annex A, step by step, and the examples of 5.27: through the service, its state file and its recorder."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorderd.model.causes import RecordingState
from recorderd.model.faults import BadConfiguration
from recorderd.model.job import JobRequest, SourceRequest
from recorderd.model.receiver import ReceiverConfiguration, ReceiverMode
from recorderd.model.recording import RecordingConfiguration, SourceInformation, TrackConfiguration, TrackType
from recorderd.recording import topics
from tests.recording.fakes import AUDIO, METADATA, VIDEO
from tests.recording.service_house import ServiceHouse, living
from tests.simulated_time import FakeClock, run_simulated

ACTIVE = (RecordingState.ACTIVE, RecordingState.PARTIALLY_ACTIVE)


def test_annex_a(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            recording = await service.create_recording(RecordingConfiguration())
            token, receiver = await house.new_receiver()

            def request(priority: int, mode: str) -> JobRequest:
                return JobRequest(
                    recording=recording.token, mode=mode, priority=priority, sources=(SourceRequest(token=token),)
                )

            async def states() -> dict[str, RecordingState]:
                await house.seconds(8, receiver)
                return {job.token: service.job_state(job.token).state for job in service.list_jobs()}

            # Step 1: J1, priority 2, Active.
            j1 = (await service.create_job(request(2, "Active"))).token
            house.source.connect(receiver, (VIDEO, AUDIO))
            assert (await states())[j1] in ACTIVE
            # Step 2: J2, priority 4, Idle.
            j2 = (await service.create_job(request(4, "Idle"))).token
            found = await states()
            assert found[j1] in ACTIVE
            assert found[j2] is RecordingState.IDLE
            # Step 3: J3, priority 3, Active, takes precedence.
            j3 = (await service.create_job(request(3, "Active"))).token
            found = await states()
            assert found[j1] is RecordingState.IDLE
            assert found[j2] is RecordingState.IDLE
            assert found[j3] in ACTIVE
            # Step 4: J3 is deleted, J1 is active again.
            await service.delete_job(j3)
            found = await states()
            assert found[j1] in ACTIVE
            assert found[j2] is RecordingState.IDLE
            assert j3 not in found
            # What changed hands is whole: no picture missing, none twice, although the jobs changed inside GOPs.
            await service.set_job_mode(j1, "Idle")
            house.store.tick()
            video = house.store.samples(recording.tracks[0].id)
            assert video == [n * 9000 for n in range(len(video))]
            assert [run.job for run in house.store.runs.values()].count(service.get_job(j1).id) == 2
            deleted = [e for e in house.of(topics.JOB_STATE) if e.operation == "Deleted"]
            assert [dict(e.source)["RecordingJobToken"] for e in deleted] == [j3]

    run_simulated(main)


def test_priority_is_decided_per_track(tmp_path: Path) -> None:
    """5.3.3: video from one job and audio from another, at the same time."""
    from recorderd.model.job import JobTrack

    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            recording = await service.create_recording(RecordingConfiguration())
            (a, a_id), (b, b_id) = await house.new_receiver("a"), await house.new_receiver("b")
            low = await service.create_job(
                JobRequest(recording=recording.token, mode="Active", priority=1, sources=(SourceRequest(token=a),))
            )
            house.source.connect(a_id)
            await house.seconds(5, a_id)
            only_video = SourceRequest(token=b, tracks=(JobTrack(destination="VIDEO001"),))
            high = await service.create_job(
                JobRequest(recording=recording.token, mode="Active", priority=9, sources=(only_video,))
            )
            house.source.connect(b_id)
            await house.seconds(8, a_id, b_id)
            low_tracks = {t.destination: t.state for t in service.job_state(low.token).sources[0].tracks}
            assert low_tracks == {
                "VIDEO001": RecordingState.IDLE,
                "AUDIO001": RecordingState.ACTIVE,
                "META001": RecordingState.IDLE,
            }
            assert service.job_state(low.token).state is RecordingState.PARTIALLY_ACTIVE
            assert service.job_state(high.token).state is RecordingState.ACTIVE
            audio, video = house.store.samples(recording.tracks[1].id), recording.tracks[0].id
            assert audio == [n * 800 for n in range(len(audio))], "the audio went on without a break"
            writers = {w.spec.receiver for w in house.store.writers if any(t.track == video for t in w.spec.tracks)}
            assert writers == {a_id, b_id}

    run_simulated(main)


def test_the_latest_activated_of_equals_wins(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            recording = await service.create_recording(RecordingConfiguration())
            token, receiver = await house.new_receiver()
            request = JobRequest(
                recording=recording.token, mode="Active", priority=5, sources=(SourceRequest(token=token),)
            )
            first, second = await service.create_job(request), await service.create_job(request)
            house.source.connect(receiver, (VIDEO, AUDIO, METADATA))
            await house.seconds(8, receiver)
            assert service.job_state(first.token).state is RecordingState.IDLE
            assert service.job_state(second.token).state in ACTIVE
            await service.set_job_mode(first.token, "Idle")
            await service.set_job_mode(first.token, "Active")
            await house.seconds(8, receiver)
            assert service.job_state(first.token).state in ACTIVE
            assert service.job_state(second.token).state is RecordingState.IDLE

    run_simulated(main)


def test_example_1_a_single_camera(tmp_path: Path) -> None:
    """5.27.1: create a recording, an idle job with an automatic receiver, configure the receiver, activate the job."""

    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            source = SourceInformation(
                source_id="urn:x", name="Camera23", location="door", description="d", address="http://192.0.2.1"
            )
            sent = RecordingConfiguration(source=source, content="entrance")
            recording = await service.create_recording(sent)
            assert service.get_recording(recording.token).configuration == sent
            assert [(t.token, t.configuration.type.value, t.configuration.description) for t in recording.tracks] == [
                ("VIDEO001", "Video", ""),
                ("AUDIO001", "Audio", ""),
                ("META001", "Metadata", ""),
            ]
            job = await service.create_job(
                JobRequest(recording=recording.token, mode="Idle", sources=(SourceRequest(auto_create_receiver=True),))
            )
            (actual,) = job.configuration.sources
            assert [t.destination for t in actual.tracks] == ["VIDEO001", "AUDIO001", "META001"]
            receiver = service.get_receiver(actual.token)
            assert receiver.auto_created
            assert receiver.configuration == ReceiverConfiguration()
            assert receiver.configuration.media_uri == ""
            await service.configure_receiver(actual.token, ReceiverConfiguration(media_uri="rtsp://192.0.2.1/stream"))
            assert house.source.requests == {}, "an idle job: nothing shall happen"
            await service.set_job_mode(job.token, "Active")
            assert house.source.requests[receiver.id].uri == "rtsp://192.0.2.1/stream"
            house.source.connect(receiver.id, (VIDEO, AUDIO))
            await house.seconds(8, receiver.id)
            assert service.job_state(job.token).state is RecordingState.PARTIALLY_ACTIVE
            assert service.get_recording(recording.token).tracks[0].encoding == "h264"
            await service.set_receiver_mode(actual.token, ReceiverMode.NEVER_CONNECT.value)
            assert house.source.requests == {}
            assert service.job_state(job.token).state is RecordingState.IDLE
            await service.delete_job(job.token)
            assert service.list_receivers() == [], "automatic receivers go with their job"

    run_simulated(main)


def test_example_2_two_streams_into_one_recording(tmp_path: Path) -> None:
    """5.27.2: three more tracks, one job with two automatic receivers of the same device."""

    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            recording = await service.create_recording(RecordingConfiguration())
            for kind, name in (
                (TrackType.AUDIO, "AUDIO002"),
                (TrackType.VIDEO, "VIDEO002"),
                (TrackType.METADATA, "META002"),
            ):
                track = await service.create_track(recording.token, TrackConfiguration(type=kind, description="second"))
                assert track.token == name
            auto = SourceRequest(auto_create_receiver=True)
            job = await service.create_job(JobRequest(recording=recording.token, sources=(auto, auto)))
            assert [[t.destination for t in s.tracks] for s in job.configuration.sources] == [
                ["VIDEO001", "AUDIO001", "META001"],
                ["AUDIO002", "VIDEO002", "META002"],
            ]
            ids = []
            for number, source in enumerate(job.configuration.sources):
                uri = f"rtsp://192.0.2.1/stream{number}"
                ids.append((await service.configure_receiver(source.token, ReceiverConfiguration(media_uri=uri))).id)
            await service.set_job_mode(job.token, "Active")
            for receiver in ids:
                house.source.connect(receiver, (VIDEO, AUDIO))
            await house.seconds(8, *ids)
            state = service.job_state(job.token)
            assert [s.state for s in state.sources] == [RecordingState.PARTIALLY_ACTIVE] * 2
            assert len(house.store.runs) == 1, "one activity of one job is one run, whatever its number of streams"
            held = service.get_recording(recording.token)
            for name in ("VIDEO001", "VIDEO002", "AUDIO001", "AUDIO002"):
                track = held.track(name)
                assert track is not None
                assert house.store.samples(track.id), name

    run_simulated(main)


def test_a_job_needs_a_source_and_keeps_its_recording(tmp_path: Path) -> None:
    async def main(clock: FakeClock) -> None:
        async with living(ServiceHouse(clock, tmp_path / "s")) as house:
            service = house.service
            one = await service.create_recording(RecordingConfiguration())
            two = await service.create_recording(RecordingConfiguration())
            with pytest.raises(BadConfiguration):
                await service.create_job(JobRequest(recording=one.token))
            with pytest.raises(BadConfiguration):
                await service.create_job(JobRequest(recording=one.token, sources=(SourceRequest(),)))
            assert service.list_receivers() == [], "a refused job leaves no receiver behind"
            auto = (SourceRequest(auto_create_receiver=True),)
            job = await service.create_job(JobRequest(recording=one.token, sources=auto))
            with pytest.raises(BadConfiguration):
                await service.set_job(job.token, JobRequest(recording=two.token, sources=auto))

    run_simulated(main)
