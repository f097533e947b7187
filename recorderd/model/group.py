"""Recording groups, in the VAPIX meaning: a named container with its stream options and pre- and post-duration."""

from __future__ import annotations

import msgspec


class RecordingGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class GroupSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sets; None leaves it as it is."""

    nice_name: str | None = None
    description: str | None = None
    disk_id: str | None = None
    retention_hours: int | None = None
    stream_options: str | None = None
    pre_duration_ms: int | None = None
    post_duration_ms: int | None = None
