"""The camera rescue: every hang is rescued or alarmed, nothing else is touched."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from recorderd.model.causes import GapCause
from recorderd.power.rescue import Alarm, Cycle, Patience, Rescue, nothing_to_do, rescue_step
from tests.power.camera_world import HANGS, HARMLESS, Camera, Mood

_S = 1_000_000_000
START = 1_000.0


@dataclass
class World:
    """Steps the rescue over cameras; a cycle it decides on happens at once."""

    cameras: list[Camera]
    patience: Patience = field(default_factory=Patience)
    now: float = START
    memory: dict = field(default_factory=dict)
    cycles: list[tuple[float, Cycle]] = field(default_factory=list)
    alarms: list[tuple[float, Alarm]] = field(default_factory=list)
    spared: int = 0  # steps that the service leaves out

    def step(self) -> Rescue:
        for camera in self.cameras:
            camera.update(self.now)
        counts = {
            c.port: sum(1 for at, y in self.cycles if y.port == c.port and self.now - at < 86_400) for c in self.cameras
        }
        sights = [c.sight(self.now, counts[c.port]) for c in self.cameras]
        result = rescue_step(self.memory, sights, round(self.now * _S), self.patience)
        if all(s.streaming for s in sights) and nothing_to_do(self.memory, [s.device for s in sights]):
            assert result == Rescue(self.memory), "the service would not have looked"
            self.spared += 1
        self.memory = dict(result.memory)
        for cycle in result.cycles:
            self.cycles.append((self.now, cycle))
            for camera in self.cameras:
                if camera.port == cycle.port:
                    camera.cycled(self.now)
        self.alarms += [(self.now, a) for a in result.alarms]
        return result

    def run(self, seconds: float, tick: float = 1.0) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step()
            self.now += tick

    def cycle_times(self) -> list[float]:
        return [at - START for at, _ in self.cycles]


def _world(count: int = 4, **camera: object) -> World:
    made = World([Camera(f"camera-{i}", str(i), **camera) for i in range(1, count + 1)])  # type: ignore[arg-type]
    made.run(10)
    made.now = START
    return made


def test_silent_and_unreachable_is_cycled_within_20_s_and_comes_back() -> None:
    world = _world()
    world.cameras[1].falls(Mood.DEAD, world.now)
    world.run(300)
    assert len(world.cycles) == 1
    assert 10 <= world.cycle_times()[0] <= 17, "leaves three seconds to cut the power"
    assert world.cycles[0][1].port == "2"
    assert world.cameras[1].mood is Mood.WELL
    assert not world.alarms


def test_steps_over_cameras_that_are_all_well_are_left_out_until_one_is_not() -> None:
    world = _world()
    world.spared = 0
    world.run(60)
    assert world.spared == 60
    world.cameras[1].falls(Mood.DEAD, world.now)
    world.run(300)
    assert world.cameras[1].mood is Mood.WELL
    assert world.spared == 60, "its try is remembered, though all stream again"
    world.run(600)
    assert world.spared > 60 + 200, "forgotten after ten good minutes"
    world.cameras.append(Camera("camera-5", "5"))
    before = world.spared
    world.run(1)
    assert world.spared == before, "a camera that is new"


@pytest.mark.parametrize("mood", [Mood.ENCODER_HUNG, Mood.DEAF])
def test_reachable_without_media_is_cycled_after_60_s(mood: Mood) -> None:
    world = _world()
    world.cameras[0].falls(mood, world.now)
    world.run(300)
    assert [round(t) for t in world.cycle_times()] == [pytest.approx(60, abs=2)]
    assert world.cameras[0].mood is Mood.WELL


def test_after_an_orderly_close_only_after_the_grace() -> None:
    world = _world()
    world.cameras[0].falls(Mood.CLOSED_THEN_DEAD, world.now)
    world.run(1_000)
    assert world.cycle_times() == [pytest.approx(600, abs=2)]
    assert "CAMERA_CLOSED" in world.cycles[0][1].reason


@pytest.mark.parametrize("mood", HARMLESS)
@pytest.mark.parametrize("boot_s", [20.0, 60.0, 200.0])
def test_restarts_and_upgrades_are_left_alone(mood: Mood, boot_s: float) -> None:
    world = _world(boot_s=boot_s)
    world.cameras[2].falls(mood, world.now)
    world.run(1_500)
    assert not world.cycles
    assert world.cameras[2].mood is Mood.WELL


def test_a_camera_that_stays_dead_gets_three_tries_then_an_alarm() -> None:
    world = _world(revives=False)
    world.cameras[0].falls(Mood.DEAD, world.now)
    world.run(2_400)
    times = world.cycle_times()
    assert len(times) == 3
    assert times[2] - times[1] > times[1] - times[0] >= 180
    assert [a.reason for _, a in world.alarms] == [world.alarms[0][1].reason]
    assert "3 tries did not help" in world.alarms[0][1].reason


def test_a_slow_start_after_a_cycle_is_not_cycled_again() -> None:
    world = _world(boot_s=110)
    world.cameras[0].falls(Mood.DEAD, world.now)
    world.run(600)
    assert len(world.cycles) == 1


def test_at_most_six_cycles_a_day_and_port() -> None:
    world = _world(boot_s=20)
    for _ in range(10):
        world.cameras[0].falls(Mood.DEAD, world.now)
        world.run(700)
    assert len(world.cycles) == 6
    assert any("cycled 6 times within a day" in a.reason for _, a in world.alarms)


@pytest.mark.parametrize("apart", [0.0, 3.0, 9.0])
def test_cameras_silent_together_are_an_alarm_and_no_cycle(apart: float) -> None:
    world = _world(8)
    for index in range(8):
        world.cameras[index].falls(Mood.DEAD, world.now + 4 + (apart if index == 7 else 0))
    world.run(120)
    assert not world.cycles
    assert len(world.alarms) == 1
    assert "8 cameras fell silent" in world.alarms[0][1].reason or apart
    assert "recorder's side" in world.alarms[0][1].reason


def test_the_one_that_stays_silent_after_the_others_came_back_is_rescued() -> None:
    world = _world(4)
    for camera in world.cameras:
        camera.falls(Mood.DEAD, world.now)
    world.run(90)
    for camera in world.cameras[1:]:
        camera.mood = Mood.WELL
    world.run(300)
    assert [c.port for _, c in world.cycles] == ["1"]
    assert world.cameras[0].mood is Mood.WELL


def test_a_second_silence_within_30_s_is_not_cycled() -> None:
    world = _world(revives=False)
    world.cameras[0].falls(Mood.DEAD, world.now)
    world.run(20)
    assert len(world.cycles) == 1
    world.cameras[1].falls(Mood.DEAD, world.now)
    world.run(600)
    assert len(world.cycles) == 1
    assert len(world.alarms) == 1


def test_a_downstream_switch_is_cycled_only_when_all_behind_it_are_silent() -> None:
    world = _world(4)
    for camera in world.cameras[:2]:
        camera.port, camera.devices_behind = "1", 2
    world.cameras[0].falls(Mood.DEAD, world.now)
    world.run(120)
    assert not world.cycles
    assert "other cameras on port 1 are well" in world.alarms[0][1].reason
    world.cameras[1].falls(Mood.DEAD, world.now)
    world.run(200)
    assert [(c.port, len(c.devices)) for _, c in world.cycles] == [("1", 2)]


@pytest.mark.parametrize("behind", [0, 3])
def test_unknown_devices_on_the_port_forbid_a_cycle(behind: int) -> None:
    world = _world(devices_behind=behind)
    world.cameras[0].falls(Mood.DEAD, world.now)
    world.run(200)
    assert not world.cycles
    assert "other devices behind it" in world.alarms[0][1].reason


def test_a_camera_whose_port_comes_back_has_time_to_start() -> None:
    """Unplugged for an hour, then plugged in again: silent all the while, and not to be cut off in its first minute."""
    world = _world()
    camera = world.cameras[0]
    camera.port_delivers = False
    camera.falls(Mood.DEAD, world.now)
    world.run(3_600, tick=10)
    assert [a.reason for _, a in world.alarms] == ["silent for 60 s and not rescued: port 1 does not deliver power"]
    camera.port_delivers = True
    plugged = world.now
    world.run(170)
    assert not world.cycles
    world.run(60)
    assert world.cycles[0][0] - plugged == pytest.approx(180, abs=15)


@pytest.mark.parametrize(
    ("change", "why"), [({"protected": True}, "default route"), ({"port": ""}, "which port"), ({"held": True}, "")]
)
def test_what_forbids_a_cycle_is_said(change: dict[str, object], why: str) -> None:
    world = _world()
    for name, value in change.items():
        setattr(world.cameras[0], name, value)
    world.cameras[0].falls(Mood.DEAD, world.now)
    world.run(900)
    assert not world.cycles
    assert ([a for _, a in world.alarms] == []) if not why else why in world.alarms[0][1].reason


@pytest.mark.parametrize(
    "cause", [GapCause.UNAUTHORIZED, GapCause.NOT_FOUND, GapCause.CONFIGURATION, GapCause.INCOMPATIBLE_STREAM]
)
def test_a_camera_that_refuses_is_not_hung(cause: GapCause, monkeypatch: pytest.MonkeyPatch) -> None:
    world = _world()
    camera = world.cameras[0]
    camera.falls(Mood.ENCODER_HUNG, world.now)
    original = Camera.sight

    def refuses(self: Camera, now: float, cycles_today: int = 0):  # type: ignore[no-untyped-def]
        from dataclasses import replace

        found = original(self, now, cycles_today)
        return replace(found, silence=cause) if self is camera else found

    monkeypatch.setattr(Camera, "sight", refuses)
    world.run(2_000)
    assert not world.cycles


def test_never_seen_since_the_start_waits_for_the_grace() -> None:
    from dataclasses import replace

    camera = Camera("new", "1")
    camera.falls(Mood.DEAD, START)
    memory: dict = {}
    for second in range(700):
        sight = replace(camera.sight(START + second), last_media_ns=0)
        result = rescue_step(memory, [sight], round((START + second) * _S))
        memory = dict(result.memory)
        if result.cycles:
            assert second == pytest.approx(600, abs=2)
            return
    raise AssertionError("never rescued")


def _camera_hours(hours: float, seed: int) -> tuple[int, int]:
    """Cameras on 16 ports with losses, restarts and slow starts, and now and then a hang; returns (false cycles, hangs left)."""
    chance = random.Random(seed)
    world = World([Camera(f"c{i}", str(i), boot_s=chance.choice((20, 45, 90, 150))) for i in range(16)])
    world.run(10)
    false = left = 0
    incidents = 0
    elapsed = 0.0
    while elapsed < hours / 16 * 3_600:
        # Between incidents nothing but packet loss: bytes go on arriving, at most a second apart.
        for _ in range(4):
            world.step()
            world.now += chance.uniform(1, 3)
        gap = chance.expovariate(1 / 3_600)
        world.now += gap
        world.step()
        world.step()
        camera = chance.choice(world.cameras)
        mood = chance.choice((*HARMLESS, *HARMLESS, *HANGS))
        before = len(world.cycles)
        began = world.now
        world.cycles = [(at, c) for at, c in world.cycles if world.now - at < 86_400]
        before = len(world.cycles)
        tired = sum(c.port == camera.port for _, c in world.cycles) >= 6
        camera.falls(mood, world.now)
        alarms = len(world.alarms)
        while camera.mood is not Mood.WELL and world.now - began < 2_000:
            world.step()
            world.now += 1
        world.run(5)
        made = [c.port for _, c in world.cycles[before:]]
        if mood in HARMLESS:
            false += len(made)
        else:
            false += len([p for p in made if p != camera.port]) + max(0, len(made) - 1)
            if not made and len(world.alarms) == alarms:
                left += 1
            assert made or tired
        camera.mood = Mood.WELL
        incidents += 1
        elapsed += world.now - began + gap
    assert incidents > hours / 40
    return false, left


def test_five_hundred_camera_hours_without_a_false_cycle() -> None:
    assert _camera_hours(500, seed=7) == (0, 0)


@pytest.mark.slow
def test_ten_thousand_camera_hours_without_a_false_cycle() -> None:
    assert _camera_hours(10_000, seed=11) == (0, 0)
