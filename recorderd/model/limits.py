"""How much of everything the recorder takes; a request beyond a limit is refused with the fault that names it.

The capabilities that a client reads are made from these figures, so the two cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, sizes and durations. Rates are what this recorder was measured to hold (`rates.py`); 0 leaves the capability out."""

    devices: int = 64
    receivers: int = 256
    recordings: int = 128
    jobs: int = 256
    jobs_per_recording: int = 16
    sources_per_job: int = 4
    tracks_per_type: int = 4
    filters_per_job: int = 16
    groups: int = 64
    destinations: int = 16
    schedules: int = 64
    special_day_groups: int = 32
    special_days_per_schedule: int = 8
    days_per_special_day_group: int = 64
    periods_per_day: int = 10
    calendar_events: int = 64
    encryption_entries: int = 8
    finished_operations: int = 32
    waiting_operations: int = 16
    files_per_operation: int = 1000

    before_ms: int = 60_000  # of an event recording; each second is reserved in limits.media_ram at the stream's rate
    after_ms: int = 3_600_000
    override_ms: int = 3_600_000  # OverrideSegmentDuration: at most one hour (5.24)

    max_rate_kbps: int = 0  # all tracks of one recording
    max_total_rate_kbps: int = 0  # all recordings

    uri_chars: int = 1024
    token_chars: int = 64
    name_chars: int = 64
    description_chars: int = 1024
    calendar_chars: int = 16_384
    secret_chars: int = 512
