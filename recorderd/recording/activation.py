"""Who records what: a pure function from jobs and their conditions to the source that wins each track.

Priority is given to a job but decided per track (5.3.3): of the jobs that want to record now, the highest priority wins; among equals the
one activated last. A job that loses some tracks goes on with the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recorderd.model.job import JobMode, RecordingJob


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One source track of a job into one track of its recording."""

    destination: str  # track token
    source: int  # index in the job's sources
    source_tag: str


def wants(job: RecordingJob, schedule_active: bool, condition_holds: bool) -> bool:
    """Whether the job would record now if no other job were there. Both flags are true where the job has no such condition."""
    return job.configuration.mode is JobMode.ACTIVE and schedule_active and condition_holds


def winners(jobs: Iterable[RecordingJob]) -> Mapping[str, tuple[Route, ...]]:
    """Job token -> the routes it has won, for the jobs of one recording that want to record now. Jobs that won nothing are absent."""
    best: dict[str, tuple[tuple[int, int], str, Route]] = {}
    for job in jobs:
        rank = (job.configuration.priority, job.activation)
        for index, source in enumerate(job.configuration.sources):
            for track in source.tracks:
                held = best.get(track.destination)
                if held is None or held[0] < rank:
                    best[track.destination] = (rank, job.token, Route(track.destination, index, track.source_tag))
    won: dict[str, list[Route]] = {}
    for _, token, route in best.values():
        won.setdefault(token, []).append(route)
    return {token: tuple(sorted(routes)) for token, routes in won.items()}
