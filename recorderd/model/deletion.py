"""Deletions that are decided and not yet done: the object is gone from the configuration, its media goes as soon as it can."""

from __future__ import annotations

import msgspec

from recorderd.model.recording import Recording


class PendingDeletion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stored with the change that deletes the object, removed when its media is deleted.

    `recording` is as it was; `track`: only this one of it.
    """

    token: str
    recording: Recording
    track: str = ""
