"""Recording groups, in the VAPIX meaning: a named container with its stream options and pre- and post-duration."""

from __future__ import annotations

import msgspec


class RecordingGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group. It owns one recording, one receiver and one job, which carry out what it says."""

    id: str
    nice_name: str = ""
    description: str = ""
    disk_id: str = ""  # immutable
    retention_hours: int = 0  # 0: unlimited
    stream_options: str = ""  # as given: percent-encoded, with device=<id>
    pre_duration_ms: int = 0
    post_duration_ms: int = 0
    recording: str = ""  # tokens of what it owns
    receiver: str = ""
    job: str = ""
