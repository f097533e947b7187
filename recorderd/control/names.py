"""What people call a recording: its token, its source's name, the id of the camera it records, or its UUID."""

from __future__ import annotations

import uuid
from typing import cast

from recorderd.model.job import RecordingJob
from recorderd.model.objects import Objects
from recorderd.model.receiver import Receiver
from recorderd.model.recording import Recording
from recorderd.protocol.errors import NotFound
from recorderd.protocol.printable import printable
from recorderd.ring.ledger.queries import Queries


class RecordingNames:
    """Configured recordings first; then what only the ring still knows."""

    def __init__(self, *, objects: Objects, queries: Queries) -> None:
        self._recordings = cast("dict[str, Recording]", objects.tables["recording"])
        self._receivers = cast("dict[str, Receiver]", objects.tables["receiver"])
        self._jobs = cast("dict[str, RecordingJob]", objects.tables["job"])
        self._queries = queries

    def find(self, text: str) -> uuid.UUID | None:
        """The recording, or None. A camera's id finds the recording that its first job fills."""
        recording = self._recordings.get(text)
        if recording is None:
            recording = next(
                (r for r in self._recordings.values() if text in (r.configuration.source.name, str(r.id))), None
            )
        if recording is None:
            recording = self._recordings.get(self._fed_by(text))
        return recording.id if recording is not None else self._queries.find_recording(text)

    def get(self, text: str) -> uuid.UUID:
        """Raises `NotFound`."""
        found = self.find(text)
        if found is None:
            raise NotFound("recording", printable(text))
        return found

    def _fed_by(self, device: str) -> str:
        receivers = {r.token for r in self._receivers.values() if device and r.configuration.device == device}
        for job in self._jobs.values():
            configuration = job.configuration
            if any(source.token in receivers for source in configuration.sources):
                return configuration.recording
        return ""
