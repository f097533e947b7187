"""The wish as it is declared: in recorderd.toml, or since then through the control protocol. Kept in one small file.

What was set through the protocol holds until someone edits `[network]` in recorderd.toml: the later word counts, and which was later is
told by a digest of the file's section. Declaring changes nothing in the network; `apply` does.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec

from recorderd.durable import replace_file
from recorderd.model.network import NetworkWish

log = logging.getLogger(__name__)
FILE_MAX_BYTES = 256 * 1024


class Draft(msgspec.Struct, frozen=True):
    based_on: str  # digest of recorderd.toml's section at the time
    wish: NetworkWish


class Declared:
    """Synchronous: one file of a few KiB, written on request of a person."""

    def __init__(self, *, file: Path, settings: NetworkWish) -> None:
        self._file = file
        self._settings = settings
        self._digest = hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()
        self._draft = self._read()

    @property
    def wish(self) -> NetworkWish:
        return self._draft.wish if self._draft is not None else self._settings

    @property
    def from_file(self) -> bool:
        """Whether recorderd.toml says it, and not a later `net set`."""
        return self._draft is None

    def set(self, wish: NetworkWish) -> None:
        """Durable on return. Raises OSError."""
        draft = Draft(self._digest, wish)
        replace_file(self._file, msgspec.json.encode(draft))
        self._draft = draft

    def _read(self) -> Draft | None:
        try:
            with self._file.open("rb") as file:
                draft = msgspec.json.decode(file.read(FILE_MAX_BYTES), type=Draft)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError) as error:
            log.error("network: %s cannot be read (%s): recorderd.toml holds", self._file, error)
            return None
        if draft.based_on != self._digest:
            log.info("network: [network] in recorderd.toml was edited after the last `net set`: the file holds")
            return None
        return draft
