"""What a request can be refused for, with the meaning of the ONVIF fault of the same name.

Every face translates these: Varlink by name, SOAP by `code`/`subcode`, VAPIX by its own numbers. The texts are for a person.
"""

from __future__ import annotations


class Fault(Exception):
    """A refused request. `argument` names what was wrong, `expected` what would have been right."""

    code = "Sender"
    subcode = "InvalidArgVal"
    kind = ""  # of the object that was not found, or what a limit is counted in

    def __init__(self, detail: str, *, argument: str = "", expected: str = "", got: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.argument = argument
        self.expected = expected
        self.got = got

    @property
    def name(self) -> str:
        return type(self).__name__


class NoDevice(Fault):
    """No device has this id."""

    kind = "device"


class NoRecording(Fault):
    """The token names no recording."""

    kind = "recording"


class NoTrack(Fault):
    """The token names no track of the recording."""

    kind = "track"


class NoRecordingJob(Fault):
    """The token names no recording job."""

    kind = "job"


class UnknownToken(Fault):
    """The token names no receiver."""

    kind = "receiver"


class NotFound(Fault):
    """The token names no schedule, special day group, recording group, lock or operation."""


class NoConfig(Fault):
    """The token names no storage destination."""

    kind = "destination"


class BadConfiguration(Fault):
    """The configuration is invalid."""


class BadMode(Fault):
    """The mode is neither Idle nor Active (jobs), or none of the receiver modes."""


class BadDuration(Fault):
    """The duration is out of range."""


class AlreadyExists(Fault):
    """The id or token chosen by the client is taken."""


class _Refused(Fault):
    code = "Receiver"
    subcode = "Action"


class MaxDevices(_Refused):
    """The recorder holds as many devices as it can."""

    kind = "devices"


class MaxRecordings(_Refused):
    """The recorder holds as many recordings as it can."""

    kind = "recordings"


class MaxTracks(_Refused):
    """The recording holds as many tracks of this type as it can."""

    kind = "tracks"


class MaxRecordingJobs(_Refused):
    """The recorder holds as many recording jobs as it can."""

    kind = "jobs"


class MaxReceivers(_Refused):
    """The recorder holds as many receivers as it can."""

    kind = "receivers"


class MaxSchedules(_Refused):
    """A limit of the schedule service is reached: schedules, special days, or periods per day."""

    kind = "schedules"


class MaxGroups(_Refused):
    """The recorder holds as many recording groups as it can."""

    kind = "groups"


class MaxStorageConfigurations(_Refused):
    """The recorder holds as many storage destinations as it can."""

    kind = "destinations"


class MaxExports(_Refused):
    """As many export operations wait as can."""

    kind = "exports"


class MaxLocks(_Refused):
    """The lock would leave too little of the ring to record into (format.md, section 12)."""

    kind = "locks"


class CannotDelete(_Refused):
    """The object is in use, or its data is locked."""


class CannotDeleteReceiver(_Refused):
    """A recording job uses the receiver."""


class StateUnavailable(_Refused):
    """The state file cannot be written: nothing was changed."""


class StorageUnavailable(_Refused):
    """No disk can answer now."""
