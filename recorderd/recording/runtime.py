"""What changes about a job without its configuration changing, and the counters that hold the engine to its word."""

from __future__ import annotations

from dataclasses import dataclass

from recorderd.model.job import RecordingJob
from recorderd.recording.condition import EventCondition
from recorderd.recording.runs import Run


@dataclass(slots=True)
class JobRuntime:
    """One per job. `allowed`: mode and schedule let it record; `wanted`: its event condition does, too."""

    job: RecordingJob
    condition: EventCondition | None = None
    run: Run | None = None
    allowed: bool = False
    since_ns: int = 0  # since when it is allowed
    wanted: bool = False


@dataclass(slots=True)
class Counters:
    """What was really touched and moved."""

    recordings_evaluated: int = 0
    runs_started: int = 0
    runs_stopped: int = 0
    states_published: int = 0
    overflows: int = 0  # times that lanes lost data because memory ran out
