"""Camera, ingest, rescue, policy and chip together in simulated time: what real sessions say of a camera that hangs, and what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.ports import CameraPlace
from recorderd.power.memory import Keeper, VolatileMemory
from recorderd.power.rescue import Reach
from recorderd.power.rescuer import RescueService
from tests.ingest.world import World
from tests.power.simulated_power import Rig, rig
from tests.simulated_time import FakeClock, run_simulated

PORT = "3"
BOOT_S = 40.0


class House(World):
    """The camera hangs on port 3: without power it is gone, and after a boot it is well, whatever ailed it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.made: Rig = rig(clock, "sim-8port")
        self.web = False
        self.protected: frozenset[str] = frozenset()
        self.off_at: list[float] = []
        self.on_at: list[float] = []

    def locate(self, address: str) -> CameraPlace | None:
        return CameraPlace(mac="", ip=address, port=PORT, devices_behind=1) if address == "192.0.2.1" else None

    def protected_ports(self) -> frozenset[str]:
        return self.protected

    async def reach(self, address: str) -> Reach:
        await asyncio.sleep(1)
        there = self.camera.faults.unreachable is None and self.camera.faults.refuse is None
        return Reach(self.clock.boottime_ns(), arp=there, tcp=there, web=there and self.web)

    async def live(self) -> None:
        """Ties the camera to its port."""
        powered = self.made.simulation.powered(PORT)
        while True:
            await asyncio.sleep(0.1)
            now = self.made.simulation.powered(PORT)
            faults = self.camera.faults
            if powered and not now:
                self.off_at.append(self.clock.boottime_ns() / 1e9)
                faults.mute, faults.unreachable, faults.refuse = (
                    True,
                    GapCause.CAMERA_UNREACHABLE,
                    GapCause.CAMERA_UNREACHABLE,
                )
            if now and not powered:
                self.on_at.append(self.clock.boottime_ns() / 1e9)
            if now and self.on_at and faults.refuse and self.clock.boottime_ns() / 1e9 - self.on_at[-1] > BOOT_S:
                faults.mute, faults.stall, faults.unreachable, faults.refuse = False, False, None, None
                self.camera.wires.clear()
            powered = now


def _simulate(scenario: Callable[[House], Awaitable[None]]) -> House:
    async def main(clock: FakeClock) -> House:
        house = House(clock)
        keeper = Keeper(VolatileMemory())
        rescuer = RescueService(
            power=house.made.service,
            health=house.ingest,
            locator=house,
            prober=house,
            clock=clock,
            events=house.made.heard,
            keeper=keeper,
            boot_id="boot",
        )
        tasks = [asyncio.create_task(house.made.service.run())]
        await house.made.until(lambda: len(house.made.delivering()) == 8)
        house.ingest.start(house.request, house.sink)
        others = (house.ingest.run, house.camera.run, house.live, rescuer.run)
        tasks += [asyncio.create_task(run()) for run in others]
        await house.clock.sleep(30)
        assert house.health().streaming
        await scenario(house)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [r for r in results if isinstance(r, Exception)]
        return house

    return run_simulated(main)


def _now(house: House) -> float:
    return house.clock.boottime_ns() / 1e9


def test_a_dead_camera_is_off_within_20_s_and_back_with_the_story_on_its_timeline() -> None:
    async def scenario(house: House) -> None:
        began = _now(house)
        house.camera.faults.mute = True
        house.camera.faults.unreachable = house.camera.faults.refuse = GapCause.CAMERA_UNREACHABLE
        await house.clock.sleep(150)
        assert len(house.off_at) == 1
        assert house.off_at[0] - began <= 20
        assert house.on_at[0] - house.off_at[0] >= 3
        assert house.health().streaming

    house = _simulate(scenario)
    causes = [entry[1] for entry in house.sink.said("no session")]
    assert GapCause.PORT_CYCLED in causes
    assert any(
        "port 3 is switched off and on: cam1 silent for" in str(entry[2]) for entry in house.sink.said("no session")
    )


def test_an_encoder_that_hangs_while_everything_else_answers_is_cycled_after_60_s() -> None:
    async def scenario(house: House) -> None:
        began = _now(house)
        house.web = True
        house.camera.faults.stall = True
        await house.clock.sleep(200)
        assert len(house.off_at) == 1
        assert 58 <= house.off_at[0] - began <= 90, "two fresh sessions take a while"
        assert house.health().streaming

    _simulate(scenario)


def test_a_port_switched_off_at_night_is_the_stated_cause() -> None:
    async def scenario(house: House) -> None:
        await house.made.service.set_admin(PORT, on=False)
        await house.clock.sleep(30)
        assert house.health().silence is GapCause.PORT_POWER_OFF
        await house.made.service.set_admin(PORT, on=True)
        await house.clock.sleep(150)
        assert house.health().streaming
        assert len(house.off_at) == 1, "the rescue leaves a port that was switched off alone"

    house = _simulate(scenario)
    assert house.sink.said("closed")[0][1] is GapCause.PORT_POWER_OFF


def test_a_tenth_of_the_packets_lost_is_no_reason() -> None:
    async def scenario(house: House) -> None:
        house.camera.faults.drop_every = 10
        await house.clock.sleep(300)
        assert not house.off_at

    _simulate(scenario)


@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")])
def test_a_camera_that_restarts_by_itself_is_left_alone(error: OSError | None) -> None:
    async def scenario(house: House) -> None:
        house.camera.end_all(error)
        house.camera.faults.refuse = house.camera.faults.unreachable = GapCause.CAMERA_UNREACHABLE
        await house.clock.sleep(90)
        house.camera.faults.refuse = house.camera.faults.unreachable = None
        await house.clock.sleep(60)
        assert house.health().streaming
        assert not house.off_at

    _simulate(scenario)


def test_a_five_minute_firmware_upgrade_is_left_alone() -> None:
    async def scenario(house: House) -> None:
        house.web = True
        house.camera.end_all()
        house.camera.faults.refuse = GapCause.CAMERA_REFUSED
        house.reach = _web_only(house)  # type: ignore[method-assign]
        await house.clock.sleep(240)
        house.camera.faults.refuse = GapCause.CAMERA_UNREACHABLE
        house.web = False
        await house.clock.sleep(60)
        house.camera.faults.refuse = None
        await house.clock.sleep(60)
        assert not house.off_at
        assert house.health().streaming

    _simulate(scenario)


def _web_only(house: House) -> Callable[[str], Awaitable[Reach]]:
    async def reach(address: str) -> Reach:
        await asyncio.sleep(1)
        return Reach(house.clock.boottime_ns(), arp=house.web, tcp=house.web, web=house.web)

    return reach
