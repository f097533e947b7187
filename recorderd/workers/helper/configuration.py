"""What the recorder's configuration tells the helper: where the ring is mounted, and which disks the board has for recordings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from hw.boards.loader import BadBoard, load
from recorderd import settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Configuration:
    ring: Path
    disks: tuple[str, ...] = ()  # patterns; empty: the board does not say


def read_configuration(path: Path) -> Configuration:
    """Never fails: with a configuration that cannot be used the recorder does not start, but its disks can still be looked at."""
    try:
        found = settings.load(path)
    except settings.SettingsError as error:
        if path.exists():
            log.warning("%s", error)
        return Configuration(Path(settings.Disk().path))
    disks: tuple[str, ...] = ()
    if found.recorder.board != "none":
        try:
            disks = load(found.recorder.board).disks
        except BadBoard as error:
            log.warning("%s", error)
    return Configuration(Path(found.disk.path), disks)
