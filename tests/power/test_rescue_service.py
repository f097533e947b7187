"""The rescue end to end on simulated chips: from the last byte to the port that is off, over crashes of the daemon, held and counted."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass, field

import pytest

from recorderd.model.causes import GapCause
from recorderd.model.ports import CameraHealth, CameraPlace
from recorderd.model.timeline import Trust
from recorderd.power.memory import FileMemory, Keeper, PowerMemory, VolatileMemory
from recorderd.power.rescue import Reach
from recorderd.power.rescuer import RescueService
from tests.power.simulated_power import Rig, rig
from tests.simulated_time import FakeClock, run_simulated


@dataclass
class Cameras:
    """`HealthSource`, `CameraLocator` and `Prober` over eight cameras that stream while their ports have power, unless they hang."""

    made: Rig
    devices: dict[str, uuid.UUID] = field(default_factory=dict)
    hung_at: dict[str, int] = field(default_factory=dict)
    booted_at: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    began: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    lost: list[tuple[uuid.UUID, GapCause]] = field(default_factory=list)
    protected: frozenset[str] = frozenset()
    asked_what_is_protected: int = 0

    def health(self) -> list[CameraHealth]:
        now = self.made.clock.boottime_ns()
        found = []
        for label, device in self.devices.items():
            if not self.made.simulation.powered(label):
                self.hung_at.pop(label, None)
                self.booted_at[label] = now + 40_000_000_000
            if label not in self.hung_at and now >= self.booted_at.get(label, 0):
                self.last[label] = now
            streaming = self.last.get(label) == now
            found.append(
                CameraHealth(
                    device=device,
                    name=f"camera-{label}",
                    address=f"192.0.2.{label}",
                    last_byte_ns=now,  # answers to keep-alives are bytes too
                    last_media_ns=self.last.get(label, 0),
                    streaming=streaming,
                    silence=None if streaming else GapCause.CAMERA_SILENT,
                )
            )
        return found

    def rescue_began(self, device: uuid.UUID, detail: str) -> None:
        self.began.append((device, detail))

    def power_lost(self, device: uuid.UUID, cause: GapCause, detail: str) -> None:
        self.lost.append((device, cause))

    def locate(self, address: str) -> CameraPlace | None:
        label = address.rpartition(".")[2]
        return CameraPlace(mac="", ip=address, port=label)

    def protected_ports(self) -> frozenset[str]:
        self.asked_what_is_protected += 1
        return self.protected

    async def reach(self, address: str) -> Reach:
        await asyncio.sleep(1)
        label = address.rpartition(".")[2]
        now = self.made.clock.boottime_ns()
        up = self.last.get(label) == now
        return Reach(now, arp=up, tcp=up, web=up)


class Deaf:
    def on_port_lost(self, hear: object) -> None: ...


def _hang(cameras: Cameras, label: str) -> None:
    cameras.hung_at[label] = cameras.made.clock.boottime_ns()


@contextlib.asynccontextmanager
async def _running(clock: FakeClock, memory: PowerMemory, before: Rig | None = None):
    made = rig(clock, "sim-8port", memory, before.assembly if before is not None else None)
    keeper = Keeper(memory)
    made.service._wishes._keeper = keeper
    cameras = Cameras(made)
    for label in "12345678":
        cameras.devices[label] = uuid.UUID(int=int(label))
    rescuer = RescueService(
        power=made.service,
        health=cameras,
        locator=cameras,
        prober=cameras,
        clock=clock,
        events=made.heard,
        keeper=keeper,
        boot_id="boot-1",
    )
    tasks = [asyncio.create_task(made.service.run()), asyncio.create_task(rescuer.run())]
    try:
        yield made, cameras, rescuer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_from_the_last_byte_to_the_port_off_in_20_s_for_3_s_and_media_again() -> None:
    async def main(clock: FakeClock) -> None:
        async with _running(clock, VolatileMemory()) as (made, cameras, _):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(90)
            _hang(cameras, "3")
            last = cameras.last["3"]
            await made.until(lambda: not made.simulation.powered("3"))
            off_s = (clock.boottime_ns() - last) / 1e9
            assert 10 < off_s <= 20
            assert made.delivering() >= set("1245678")
            assert 3 <= await made.until(lambda: made.simulation.powered("3")) < 6
            await made.until(lambda: cameras.last["3"] == clock.boottime_ns(), limit_s=120)
            assert [d for d, _ in cameras.began] == [uuid.UUID(int=3)]
            assert "camera-3 silent for" in cameras.began[0][1]
            told = [dict(e.data) for e in made.heard.events if "Rescue" in e.topic]
            assert [t["What"] for t in told] == ["cycled"]
            await made.wait(120)
            assert len(cameras.began) == 1

    run_simulated(main)


def test_a_broken_store_does_not_keep_a_camera_from_its_rescue() -> None:
    class Broken(VolatileMemory):
        async def save(self, record: object) -> None:
            raise OSError(28, "No space left on device")

    async def main(clock: FakeClock) -> None:
        async with _running(clock, Broken()) as (made, cameras, rescuer):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(60)
            _hang(cameras, "3")
            await made.wait(60)
            assert len(cameras.began) == 1
            assert rescuer._cycles_today("3", clock.boottime_ns()) == 1, "it counts until the next restart"

    run_simulated(main)


def test_a_hold_leaves_the_camera_alone_and_ends() -> None:
    async def main(clock: FakeClock) -> None:
        memory = VolatileMemory()
        async with _running(clock, memory) as (made, cameras, rescuer):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(60)
            await rescuer.hold(uuid.UUID(int=3), 1_800)
            _hang(cameras, "3")
            await made.wait(1_700)
            assert not cameras.began
            assert [h.device for h in rescuer.holds()] == [uuid.UUID(int=3)]
            await made.wait(200)
            assert len(cameras.began) == 1

    run_simulated(main)


def test_a_protected_port_is_never_cycled() -> None:
    async def main(clock: FakeClock) -> None:
        async with _running(clock, VolatileMemory()) as (made, cameras, _):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(60)
            cameras.protected = frozenset("3")
            _hang(cameras, "3")
            await made.wait(300)
            assert not cameras.began
            assert [dict(e.data)["What"] for e in made.heard.events if "Rescue" in e.topic] == ["alarm"]

    run_simulated(main)


def test_what_is_protected_is_known_when_it_counts_and_asked_for_no_oftener() -> None:
    """The answer costs milliseconds of the loop, most of a second for sixteen cameras if each look at each of them asked."""

    async def main(clock: FakeClock) -> None:
        async with _running(clock, VolatileMemory()) as (made, cameras, _):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(120)
            cameras.asked_what_is_protected = 0
            await made.wait(3_600)
            assert cameras.asked_what_is_protected == 0, "nobody is silent"
            _hang(cameras, "3")
            await made.wait(12)
            cameras.protected = frozenset("3")  # a login through that port, seconds before it would be cycled
            await made.wait(600)
            assert not cameras.began
            assert cameras.asked_what_is_protected <= 612 / 10 + 3
            cameras.protected = frozenset()
            await made.wait(12)
            assert [d for d, _ in cameras.began] == [uuid.UUID(int=3)], "logged out: the port's turn"

    run_simulated(main)


def test_a_daemon_that_crashes_over_and_over_counts_on_and_cycles_nothing_by_mistake() -> None:
    async def main(clock: FakeClock) -> None:
        memory = VolatileMemory()
        before: Rig | None = None
        cycles = 0
        for round_number in range(12):
            async with _running(clock, memory, before) as (made, cameras, rescuer):
                before = made
                await made.until(lambda made=made: len(made.delivering()) == 8)
                await made.wait(60 if round_number % 3 else 5)
                if round_number % 2:
                    _hang(cameras, "3")
                    await made.wait(15.5)  # killed around the cut
                cycles += len(cameras.began)
                assert all(d == uuid.UUID(int=3) for d, _ in cameras.began)
        assert 1 <= cycles <= 6
        assert len(memory.record.cycles) == cycles
        async with _running(clock, memory, before) as (made, _, rescuer):
            assert before is not None
            await made.until(lambda: len(made.delivering()) == 8)
            assert rescuer._cycles_today("3", clock.boottime_ns()) == cycles

    run_simulated(main)


@pytest.mark.parametrize(("trust", "counts"), [(Trust.NTP, 0), (Trust.NONE, 1)])
def test_cycles_of_another_boot_count_by_trusted_wall_time_only(trust: Trust, counts: int) -> None:
    async def main(clock: FakeClock) -> None:
        memory = VolatileMemory()
        async with _running(clock, memory) as (made, cameras, rescuer):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(60)
            _hang(cameras, "3")
            await made.until(lambda: bool(cameras.began))
        rescuer._boot_id = "boot-2"
        clock.step(90_000)
        clock.trusted = trust
        assert rescuer._cycles_today("3", clock.boottime_ns()) == counts

    run_simulated(main)


def test_the_record_survives_on_disk(tmp_path) -> None:
    async def main() -> None:
        store = FileMemory(tmp_path / "power.json")
        keeper = Keeper(store)
        assert (await keeper.load()).wishes == {}
        rescuer = _bare(keeper)
        await rescuer.hold(uuid.UUID(int=9), 100)
        again = _bare(Keeper(FileMemory(tmp_path / "power.json")))
        await again._keeper.load()
        assert again.held(uuid.UUID(int=9))
        (tmp_path / "power.json").write_bytes(b"{not json")
        broken = FileMemory(tmp_path / "power.json")
        assert (await broken.load()).holds == ()
        assert "power.json" in broken.unreadable

    asyncio.run(main())


def test_whoever_is_behind_a_port_without_power_is_told_why() -> None:
    async def main(clock: FakeClock) -> None:
        async with _running(clock, VolatileMemory()) as (made, cameras, _):
            await made.until(lambda: len(made.delivering()) == 8)
            await made.wait(60)
            cameras.lost.clear()
            await made.service.set_admin("5", on=False)
            load = made.simulation.load("6")
            assert load is not None
            load.draw_mw = 60_000
            await made.wait(3)
            assert set(cameras.lost) == {
                (uuid.UUID(int=5), GapCause.PORT_POWER_OFF),
                (uuid.UUID(int=6), GapCause.PORT_FAULT),
            }

    run_simulated(main)


def _bare(keeper: Keeper) -> RescueService:
    return RescueService(
        power=Deaf(),  # type: ignore[arg-type]
        health=None,  # type: ignore[arg-type]
        locator=None,  # type: ignore[arg-type]
        prober=None,  # type: ignore[arg-type]
        clock=FakeClock(),
        events=None,  # type: ignore[arg-type]
        keeper=keeper,
        boot_id="boot-1",
    )
