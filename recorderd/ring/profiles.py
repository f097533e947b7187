"""What differs between media: how often a commit runs, how long it may stall, and whether every fragment is followed by a mask block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Profile:
    """`number` is stored in recorderd.id. `mask`: off where the extra non-sequential write hurts more than a stale tail in a player."""

    number: int
    name: str
    tick_s: float
    loss_bound_s: float  # shown to the operator for streams of at least 2 Mbit/s
    slow_after_s: float = 5.0  # a call older than this: the disk is slow
    stuck_after_s: float = 60.0  # older than this: the disk has failed and its threads are abandoned
    mask: bool = True


HDD: Final = Profile(1, "hdd", 1.0, 2.0)
SSD: Final = Profile(2, "ssd", 1.0, 2.0)
SD: Final = Profile(3, "sd", 8.0, 12.0, stuck_after_s=90.0, mask=False)
SMR: Final = Profile(4, "smr", 8.0, 12.0, slow_after_s=15.0, stuck_after_s=120.0, mask=False)

PROFILES: Final = {profile.name: profile for profile in (HDD, SSD, SD, SMR)}
_BY_NUMBER: Final = {profile.number: profile for profile in PROFILES.values()}


def profile_by_number(number: int) -> Profile:
    """The profile a disk was formatted for; an unknown number (from a later version) counts as HDD."""
    return _BY_NUMBER.get(number, HDD)
