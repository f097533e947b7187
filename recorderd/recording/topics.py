"""The events of this room with their exact ONVIF names (5.26, Receiver, Search and Schedule services) and the recorder page's own.

What ONVIF sends as an ElementItem is carried here as a data item with the JSON of the object; a face writes the element from it. No
object has a field for a secret, so none can be in an event.
"""

from __future__ import annotations

import msgspec

from recorderd.model.job import JobConfiguration, JobState
from recorderd.model.ports import Event
from recorderd.model.receiver import ReceiverState
from recorderd.model.recording import RecordingConfiguration, TrackConfiguration
from recorderd.model.stream import ENCODINGS, MediaKind, TrackFormat

JOB_STATE = "tns1:RecordingConfig/JobState"
RECORDING_CONFIGURATION = "tns1:RecordingConfig/RecordingConfiguration"
TRACK_CONFIGURATION = "tns1:RecordingConfig/TrackConfiguration"
JOB_CONFIGURATION = "tns1:RecordingConfig/RecordingJobConfiguration"
DELETE_TRACK_DATA = "tns1:RecordingConfig/DeleteTrackData"
CREATE_RECORDING = "tns1:RecordingConfig/CreateRecording"
DELETE_RECORDING = "tns1:RecordingConfig/DeleteRecording"
CREATE_TRACK = "tns1:RecordingConfig/CreateTrack"
DELETE_TRACK = "tns1:RecordingConfig/DeleteTrack"
RECORDING_STATE = "tns1:RecordingHistory/Recording/State"
TRACK_STATE = "tns1:RecordingHistory/Track/State"
VIDEO_PARAMETERS = "tns1:RecordingHistory/Track/VideoParameters"
AUDIO_PARAMETERS = "tns1:RecordingHistory/Track/AudioParameters"
RECEIVER_STATE = "tns1:Receiver/ChangeState"
CONNECTION_FAILED = "tns1:Receiver/ConnectionFailed"
SCHEDULE_ACTIVE = "tns1:Schedule/State/Active"
SCHEDULE_CHANGED = "tns1:Configuration/Schedule/Changed"
SCHEDULE_REMOVED = "tns1:Configuration/Schedule/Removed"
SPECIAL_DAYS_CHANGED = "tns1:Configuration/SpecialDays/Changed"
SPECIAL_DAYS_REMOVED = "tns1:Configuration/SpecialDays/Removed"
OPERATION_STATUS = "tns1:Monitoring/AsynchronousOperationStatus"
STORAGE_RECORDING = "tnsaxis:Storage/Recording"

CALENDAR_ITEM = {SCHEDULE_CHANGED: "ScheduleToken", SPECIAL_DAYS_CHANGED: "SpecialDaysToken"}

_json = msgspec.json.Encoder()


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _element(value: msgspec.Struct) -> str:
    return _json.encode(value).decode()


def job_state(token: str, state: JobState, operation: str = "Changed") -> Event:
    """Information goes along whenever the tracks' states differ (5.26.1)."""
    data: list[tuple[str, str]] = [("State", state.state.value)]
    if len({(t.state, t.error) for s in state.sources for t in s.tracks}) > 1:
        data.append(("Information", _element(state)))
    return Event(JOB_STATE, (("RecordingJobToken", token),), tuple(data), operation)


def recording_configuration(token: str, configuration: RecordingConfiguration) -> Event:
    return Event(RECORDING_CONFIGURATION, (("RecordingToken", token),), (("Configuration", _element(configuration)),))


def track_configuration(recording: str, track: str, configuration: TrackConfiguration) -> Event:
    return Event(TRACK_CONFIGURATION, _track(recording, track), (("Configuration", _element(configuration)),))


def job_configuration(token: str, configuration: JobConfiguration) -> Event:
    return Event(JOB_CONFIGURATION, (("RecordingJobToken", token),), (("Configuration", _element(configuration)),))


def _track(recording: str, track: str) -> tuple[tuple[str, str], ...]:
    return (("RecordingToken", recording), ("TrackToken", track))


def delete_track_data(recording: str, track: str, start: str, end: str) -> Event:
    """`start` and `end` are RFC 3339 with microseconds."""
    return Event(DELETE_TRACK_DATA, _track(recording, track), (("StartTime", start), ("EndTime", end)))


def create_recording(token: str) -> Event:
    return Event(CREATE_RECORDING, (("RecordingToken", token),))


def delete_recording(token: str) -> Event:
    return Event(DELETE_RECORDING, (("RecordingToken", token),))


def create_track(recording: str, track: str) -> Event:
    return Event(CREATE_TRACK, _track(recording, track))


def delete_track(recording: str, track: str) -> Event:
    return Event(DELETE_TRACK, _track(recording, track))


def recording_state(recording: str, is_recording: bool, operation: str = "Changed") -> Event:
    return Event(RECORDING_STATE, (("RecordingToken", recording),), (("IsRecording", _bool(is_recording)),), operation)


def track_state(recording: str, track: str, is_present: bool, operation: str = "Changed") -> Event:
    """The item is called Track here, not TrackToken (Search service)."""
    source = (("RecordingToken", recording), ("Track", track))
    return Event(TRACK_STATE, source, (("IsDataPresent", _bool(is_present)),), operation)


def parameters(recording: str, track: str, form: TrackFormat, operation: str = "Changed") -> Event | None:
    """VideoParameters or AudioParameters of a track; None for metadata."""
    source = (("Recording", recording), ("Track", track))
    if form.kind is MediaKind.VIDEO:
        data = (
            ("VideoEncoding", ENCODINGS[form.codec]),
            ("VideoWidth", str(form.width)),
            ("VideoHeight", str(form.height)),
        )
        return Event(VIDEO_PARAMETERS, source, data, operation)
    if form.kind is MediaKind.AUDIO:
        rate = form.sample_rate or form.clock_rate
        return Event(
            AUDIO_PARAMETERS,
            source,
            (("AudioEncoding", ENCODINGS[form.codec]), ("AudioSampleRate", str(rate))),
            operation,
        )
    return None


def storage_recording(active: bool) -> Event:
    return Event(STORAGE_RECORDING, (), (("recording", "1" if active else "0"),), "Changed")


def receiver_state(token: str, state: ReceiverState, uri: str) -> Event:
    data = (("NewState", state.value), ("MediaUri", uri)) if uri else (("NewState", state.value),)
    return Event(RECEIVER_STATE, (("ReceiverToken", token),), data)


def connection_failed(token: str, uri: str) -> Event:
    return Event(CONNECTION_FAILED, (("ReceiverToken", token),), (("MediaUri", uri),))


def schedule_active(token: str, name: str, active: bool, special_day: bool, operation: str = "Changed") -> Event:
    data = (("Active", _bool(active)), ("SpecialDay", _bool(special_day)))
    return Event(SCHEDULE_ACTIVE, (("ScheduleToken", token), ("Name", name)), data, operation)


def operation_status(token: str, name: str, progress: float, files: str, error: str, operation: str) -> Event:
    """Monitoring/AsynchronousOperationStatus; `files` is JSON of the files' progress."""
    source = (("Token", token), ("OperationName", name), ("ServiceName", "Recording"))
    data: list[tuple[str, str]] = [("Progress", f"{progress:.3f}")]
    if files:
        data.append(("FileProgressStatus", files))
    if error:
        data.append(("Error", error))
    return Event(OPERATION_STATUS, source, tuple(data), operation)
