"""Cameras that hang, restart, upgrade and start slowly, as the rescue sees them. Times in seconds of the simulation."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field

from recorderd.model.causes import GapCause
from recorderd.power.rescue import Reach, Sight

_S = 1_000_000_000


class Mood(enum.Enum):
    WELL = "well"
    DEAD = "dead"  # silent, answers nothing
    ENCODER_HUNG = "encoder hung"  # sessions come up, no media
    DEAF = "deaf"  # ARP answers, no port does
    CLOSED_THEN_DEAD = "closed then dead"
    RESTARTS = "restarts"  # closes, link flaps, back after `boot_s`
    LINK_DIES = "link dies"  # restarts without a close; its link flaps
    UPGRADES = "upgrades"  # five minutes with its web port up, then a restart


HANGS = (Mood.DEAD, Mood.ENCODER_HUNG, Mood.DEAF, Mood.CLOSED_THEN_DEAD)
HARMLESS = (Mood.RESTARTS, Mood.LINK_DIES, Mood.UPGRADES)


@dataclass
class Camera:
    name: str
    port: str
    boot_s: float = 45.0
    mood: Mood = Mood.WELL
    began: float = 0.0  # of the mood
    off_at: float | None = None  # its port was cycled then
    revives: bool = True  # a power cycle mends it
    protected: bool = False
    held: bool = False
    port_delivers: bool = True
    devices_behind: int = 1
    device: uuid.UUID = field(default_factory=uuid.uuid4)

    def falls(self, mood: Mood, at: float) -> None:
        self.mood, self.began, self.off_at = mood, at, None

    def cycled(self, at: float) -> None:
        self.off_at = at

    def update(self, now: float) -> None:
        """Ends what is over by `now`."""
        started = None
        if self.off_at is not None and (self.revives or self.mood not in HANGS):
            started = self.off_at + 3 + self.boot_s
        elif self.mood in (Mood.RESTARTS, Mood.LINK_DIES):
            started = self.began + self.boot_s
        elif self.mood is Mood.UPGRADES:
            started = self.began + 300 + self.boot_s
        if started is not None and now >= started:
            self.mood, self.off_at = Mood.WELL, None

    def sight(self, now: float, cycles_today: int = 0) -> Sight:
        quiet = now - self.began
        last = now if self.mood is Mood.WELL else self.began
        cause: GapCause | None = None
        fresh, flapped = 0, 0.0
        booting = self.off_at is not None
        reach = Reach(round(now * _S), arp=True, tcp=True, web=True)
        match self.mood:
            case Mood.DEAD:
                cause, reach = GapCause.CAMERA_SILENT, Reach(round(now * _S), arp=False)
            case Mood.ENCODER_HUNG:
                cause, fresh = GapCause.NO_MEDIA, int(quiet // 12)
            case Mood.DEAF:
                cause, reach = GapCause.CAMERA_SILENT, Reach(round(now * _S), arp=True)
            case Mood.CLOSED_THEN_DEAD:
                cause, reach = (
                    GapCause.CAMERA_CLOSED if quiet < 10 else GapCause.CAMERA_UNREACHABLE,
                    Reach(round(now * _S), arp=False),
                )
            case Mood.RESTARTS:
                cause, reach = (
                    GapCause.CAMERA_CLOSED if quiet < 10 else GapCause.CAMERA_UNREACHABLE,
                    Reach(round(now * _S), arp=False),
                )
                flapped = self.began
            case Mood.LINK_DIES:
                cause, reach, flapped = GapCause.CAMERA_SILENT, Reach(round(now * _S), arp=False), self.began + 1
            case Mood.UPGRADES:
                cause = GapCause.CAMERA_SILENT
                if quiet > 300:
                    cause, reach = GapCause.CAMERA_UNREACHABLE, Reach(round(now * _S), arp=False)
        if booting:
            reach = Reach(round(now * _S), arp=False)
        return Sight(
            device=self.device,
            name=self.name,
            streaming=self.mood is Mood.WELL,
            last_media_ns=round(last * _S),
            silence=cause,
            fresh_sessions_without_media=fresh,
            port=self.port,
            devices_behind=self.devices_behind,
            protected=self.protected,
            held=self.held,
            port_delivers=self.port_delivers,
            link_changed_ns=round(flapped * _S),
            reach=None if self.mood is Mood.WELL else reach,
            cycles_today=cycles_today,
        )
