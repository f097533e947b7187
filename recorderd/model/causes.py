"""Closed sets of causes: why there is a gap, and why there was a recording."""

from __future__ import annotations

import enum


class GapCause(enum.IntEnum):
    """Why an interval that should have had data has none. The numbers are stored on disk: never renumber, only add."""

    UNKNOWN = 0
    RECORDER_OFF = 1  # shut down or without power, orderly
    RECORDER_CRASH = 2  # the daemon was killed or the power was cut
    CAMERA_SILENT = 3  # no bytes, connection not closed
    CAMERA_CLOSED = 4  # the camera ended the session in order
    CAMERA_RESET = 5  # connection reset
    CAMERA_UNREACHABLE = 6  # no route, no ARP answer, connection time-out
    CAMERA_REFUSED = 7  # TCP connection refused
    UNAUTHORIZED = 8  # wrong credentials
    NOT_FOUND = 9  # wrong URL
    CAMERA_ERROR = 10  # other RTSP status, or nonsense
    NO_MEDIA = 11  # RTSP answers, no RTP after PLAY
    INCOMPATIBLE_STREAM = 12  # encoding differs from what the track holds
    PACKET_LOSS = 13
    RATE_CAP = 14  # dropped: the stream exceeded its rate cap
    DISK_ERROR = 15
    DISK_MISSING = 16
    DISK_SLOW = 17  # dropped: the queue for a stalled disk was full
    RING_FULL_OF_LOCKS = 18
    MEMORY = 19  # dropped: limits.media_ram
    LINK_DOWN = 20
    PORT_POWER_OFF = 21
    PORT_CYCLED = 22  # camera rescue switched its port off and on
    PORT_FAULT = 23
    CONFIGURATION = 24  # a change of the job, receiver or device
    ROT = 25  # stored, but its checksum no longer holds
    CONNECTING = 26  # the first session is being set up


class RunKind(enum.IntEnum):
    """Why a run began. The numbers are stored on disk."""

    CONTINUOUS = 0
    SCHEDULE = 1
    EVENT = 2
    MANUAL = 3


class RecordingState(enum.StrEnum):
    """ONVIF RecordingJobState, table 3 of the Recording Control Service."""

    IDLE = "Idle"
    PARTIALLY_ACTIVE = "PartiallyActive"
    ACTIVE = "Active"
    ERROR = "Error"
