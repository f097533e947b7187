"""Who may move the clock: the rules, the owner under simulated time, and a real chronyd against a server that lies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recorderd.model.clock import SystemClock
from recorderd.model.network import Ntp
from recorderd.model.ports import Event
from recorderd.model.timeline import Trust
from recorderd.network import chrony, kernelclock, topics
from recorderd.network.services import CHRONY
from recorderd.network.timekeeper import SET_UNIT, ZONE_UNIT, TimeKeeper, TimeRefused
from recorderd.network.trust import Evidence, Mode, Standing, decide
from tests.network.eventually import until
from tests.network.fakes import FakeUnits
from tests.network.namespaces import Lab, run
from tests.network.processes import ProcessUnits
from tests.network.room import Room
from tests.network.test_isolation import wish
from tests.simulated_time import FakeClock, run_simulated

NOW = 1_760_000_000.0
HOUR = 3600.0


@pytest.mark.parametrize(
    ("offset", "trust", "floor", "accepted", "configured", "mode", "waits"),
    [
        (None, Trust.RTC, NOW, False, True, Mode.HOLD, ""),
        (0.4, Trust.RTC, NOW, False, True, Mode.HOLD, ""),
        (-0.4, Trust.RTC, NOW, False, True, Mode.HOLD, ""),
        (1800.0, Trust.RTC, NOW, False, True, Mode.STEP, ""),
        (2 * HOUR, Trust.RTC, NOW, False, True, Mode.HOLD, "steps above an hour"),
        (2 * HOUR, Trust.RTC, NOW, True, True, Mode.TRUSTED, ""),
        (2 * HOUR, Trust.NONE, NOW, False, True, Mode.TRUSTED, ""),
        (2 * HOUR, Trust.NONE, NOW, False, False, Mode.HOLD, "steps above an hour"),
        (-1800.0, Trust.RTC, NOW - HOUR, False, True, Mode.STEP, ""),
        (-1800.0, Trust.RTC, NOW - 60, False, True, Mode.HOLD, "go back behind the last known time"),
        (-1800.0, Trust.NONE, NOW - 60, False, True, Mode.HOLD, "go back behind the last known time"),
        (-1800.0, Trust.NTP, NOW - 60, True, True, Mode.TRUSTED, ""),
        (-2 * HOUR, Trust.NONE, 0.0, False, True, Mode.HOLD, "steps above an hour"),
    ],
)
def test_the_rules(offset, trust, floor, accepted, configured, mode, waits) -> None:
    evidence = Evidence(synchronised=False, offset_s=offset, source="ntp.example", configured=configured)
    decision = decide(evidence, Standing(trust, floor, accepted), NOW)
    assert decision.mode is mode
    assert decision.trust is trust
    assert waits in decision.waits
    assert bool(waits) == bool(decision.waits)


def test_only_a_synchronised_clock_is_worth_ntp() -> None:
    for synchronised, expected in ((True, Trust.NTP), (False, Trust.RTC)):
        decision = decide(Evidence(synchronised, 0.001), Standing(Trust.RTC, NOW), NOW)
        assert decision.trust is expected


# As chronyd 4.3 printed them.
HELD = "^,*,10.1.0.1,1,0,377,0,-7200.000000000,-7200.000000000,0.000037867\n"
NEAR = "^,*,10.1.0.1,1,0,377,0,-0.000005451,-0.000013587,0.000044623\n^,?,10.1.0.2,0,6,0,4294967295,0.0,0.0,0.0\n"
UNSYNCED = "00000000,,0,0.000000000,0.0,0.0,0.0,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n"
SYNCED = "7F000001,127.0.0.1,2,1795325747.428821652,7200.0,-0.000008137,0.000039004,2.2,-0.1,28.9,0.0,0.0,1.0,Normal\n"
LOCAL = "7F7F0101,,10,1795325747.4,0.0,0.0,0.0,2.2,-0.1,28.9,0.0,0.0,1.0,Normal\n"


def test_what_chronyc_prints() -> None:
    assert chrony.best(chrony.sources(HELD)) == chrony.Source("10.1.0.1", "*", 1, True, 7200.0, 0.000037867)
    assert [source.reachable for source in chrony.sources(NEAR)] == [True, False]
    assert [chrony.synchronised(text) for text in (UNSYNCED, SYNCED, LOCAL, "")] == [False, True, False, False]
    assert chrony.sources("^,*,nonsense\n\n^,*,a,b,c,d,e,f,g,h\n") == ()


async def at_once(function, *arguments) -> None:
    function(*arguments)


class Fixture:
    """A time owner on a simulated clock, with a chronyd that says what the test wants."""

    def __init__(self, folder: Path, clock: FakeClock, *, rtc: bool = True, managed: bool = True) -> None:
        self.folder, self.clock = folder, clock
        self.units = FakeUnits()
        self.events: list[Event] = []
        self.says = {"sources": "", "tracking": UNSYNCED}
        self.changes = 0
        self.rtc, self.managed = rtc, managed
        self.keeper = self.new()

    def new(self) -> TimeKeeper:
        async def ask(what: str) -> str:
            return self.says[what]

        made = TimeKeeper(
            managed=self.managed,
            ntp=Ntp(servers=("10.1.0.1",)),
            zone="Europe/Berlin",
            state_folder=self.folder / "state",
            run_folder=self.folder / "run",
            units=self.units,
            events=self,
            clock=self.clock,
            ask=ask,
            disciplined=lambda: self.says["tracking"] == SYNCED,
            has_rtc=lambda: self.rtc,
            watch_steps=False,
            in_thread=at_once,
        )
        made.on_change.append(self.changed)
        return made

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def changed(self) -> None:
        self.changes += 1

    def whats(self) -> list[str]:
        return [dict(event.data)["What"] for event in self.events]

    def directives(self) -> str:
        return (self.folder / "run/chrony.d/recorderd.conf").read_text()


def story(folder: Path, tell, **options) -> Fixture:
    async def whole(clock: FakeClock) -> Fixture:
        fixture = Fixture(folder, clock, **options)
        running = asyncio.ensure_future(fixture.keeper.run())
        try:
            await tell(fixture, clock)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return fixture

    return run_simulated(whole)


def test_a_large_step_waits_for_an_operator(tmp_path: Path) -> None:
    async def tell(f: Fixture, clock: FakeClock) -> None:
        await clock.sleep(1)
        assert f.keeper.trust() is Trust.RTC
        assert "maxchange 1 0 -1" in f.directives()
        with pytest.raises(TimeRefused, match="nothing waits"):
            await f.keeper.accept("root")
        f.says["sources"] = HELD
        await clock.sleep(20)
        assert "2.0 h behind; steps above an hour" in f.keeper.status().waits
        assert f.whats().count("StepWaits") == 1  # said once, not at every look
        assert f.keeper.trust() is Trust.RTC
        await f.keeper.accept("root")
        await clock.sleep(1)
        assert f.directives().endswith("makestep 1 3\nmaxchange 1e10 0 -1\n")
        clock.step(7200)
        f.says |= {"sources": NEAR, "tracking": SYNCED}
        f.keeper._stepped()
        await clock.sleep(20)
        assert f.keeper.trust() is Trust.NTP
        assert "maxchange 1 0 -1" in f.directives()
        assert f.changes == 2  # the step, the trust
        assert {"StepAccepted", "Set", "Trust"} <= set(f.whats())

    story(tmp_path, tell)


def test_the_last_known_time_is_kept_and_trust_survives_a_restart(tmp_path: Path) -> None:
    async def tell(f: Fixture, clock: FakeClock) -> None:
        f.says |= {"sources": NEAR, "tracking": SYNCED}
        await clock.sleep(1500)
        assert float((tmp_path / "state/clock").read_text()) == pytest.approx(clock.realtime_ns() / 1e9, abs=700)
        assert f.new().trust() is Trust.NTP
        (tmp_path / "run/trust").write_text("another-boot 3\n")
        assert f.new().trust() is Trust.RTC
        f.rtc = False
        assert f.new().trust() is Trust.NONE
        clock.step(-30 * 86400)
        f.rtc = True
        assert f.new().trust() is Trust.NONE  # an RTC behind the last known time has lost it

    story(tmp_path, tell)


def test_an_operator_sets_time_zone_and_servers(tmp_path: Path) -> None:
    async def tell(f: Fixture, clock: FakeClock) -> None:
        await clock.sleep(1)
        with pytest.raises(TimeRefused, match="2099"):
            await f.keeper.set_time(0.0, "root")
        await f.keeper.set_time(NOW + 86400, "root")
        assert (tmp_path / "run/clock-set").read_text() == f"{NOW + 86400:.6f}\n"
        assert f"start {SET_UNIT}" in f.units.calls
        assert f.keeper.trust() is Trust.OPERATOR
        with pytest.raises(TimeRefused, match="IANA"):
            await f.keeper.set_zone("Europe/../../etc/passwd")
        await f.keeper.set_zone("Asia/Tokyo")
        assert f.new().zone == "Asia/Tokyo"
        assert f"start {ZONE_UNIT}" in f.units.calls
        with pytest.raises(TimeRefused, match="host name"):
            await f.keeper.set_servers(("a b",), from_dhcp=False)
        await f.keeper.set_servers(("time.example",), from_dhcp=True)
        f.keeper.lease_changed({"ntp": "10.1.0.9"})
        await clock.sleep(1)
        assert f.directives().splitlines()[:2] == ["server time.example iburst prefer", "server 10.1.0.9 iburst"]
        f.says |= {"sources": NEAR, "tracking": SYNCED}
        await clock.sleep(70)
        with pytest.raises(TimeRefused, match="NTP keeps this clock"):
            await f.keeper.set_time(NOW, "root")

    story(tmp_path, tell)


def test_where_the_network_is_not_ours_the_clock_is_only_watched(tmp_path: Path) -> None:
    async def tell(f: Fixture, clock: FakeClock) -> None:
        await clock.sleep(10)
        assert f.keeper.trust() is Trust.RTC
        f.says["tracking"] = SYNCED
        await clock.sleep(10)
        assert f.keeper.trust() is Trust.NTP
        assert not f.units.calls
        assert not (tmp_path / "run/chrony.d").exists()

    story(tmp_path, tell, managed=False)


def test_a_system_partition_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    (tmp_path / "run").write_text("the same")

    async def tell(f: Fixture, clock: FakeClock) -> None:
        f.says |= {"sources": NEAR, "tracking": SYNCED}
        await clock.sleep(1500)
        assert f.keeper.trust() is Trust.NTP

    story(tmp_path, tell)


def test_the_kernel_is_asked(tmp_path: Path) -> None:
    assert kernelclock.disciplined() in {True, False}
    entry = tmp_path / "sys/class/rtc/rtc0"
    entry.mkdir(parents=True)
    assert not kernelclock.has_rtc(tmp_path)
    (entry / "hctosys").write_text("1\n")
    assert kernelclock.has_rtc(tmp_path)

    async def watch() -> None:
        watch = kernelclock.StepWatch(lambda: None)  # the timer can be armed; nobody sets this machine's clock here
        await asyncio.sleep(0)
        watch.close()

    asyncio.run(watch())


def test_a_real_chronyd_holds_until_trusted(lab: Lab, tmp_path: Path) -> None:
    room = Room(tmp_path)
    units = ProcessUnits(tmp_path, only=frozenset({CHRONY}))
    room.transactions._units = units
    tmp_path.chmod(0o755)
    lab.inside("u", "ip", "addr", "add", "10.1.0.1/24", "dev", "eth0")
    lab.start("u", sys.executable, str(Path(__file__).parent / "ntp_server.py"), "10.1.0.1", "7200", until="serving")
    events: list[Event] = []

    class Sink:
        def publish(self, event: Event) -> None:
            events.append(event)

    async def whole() -> None:
        await room.settle(wish())
        keeper = TimeKeeper(
            managed=True,
            ntp=Ntp(servers=("10.1.0.1",)),
            zone=None,
            state_folder=tmp_path / "state",
            run_folder=tmp_path / "run",
            units=units,
            events=Sink(),
            clock=SystemClock(),
            has_rtc=lambda: True,
        )
        running = asyncio.ensure_future(keeper.run())
        try:
            await until(lambda: bool(chrony.best(keeper._sources)) or keeper._wake.set(), within_s=15)
            await until(lambda: bool(keeper.status().waits), within_s=10)
            assert "10.1.0.1 says that the clock is 2.0 h behind" in keeper.status().waits
            assert not keeper.status().synchronised
            await keeper.accept("root")
            await until(lambda: keeper._decision.mode is Mode.TRUSTED, within_s=5)
            # Where chronyd may not touch the clock (-x) it keeps the step to itself: it is synchronised, and we are told so.
            for _ in range(600):
                with contextlib.suppress(chrony.ChronyFailed):  # it is just starting again
                    if chrony.synchronised(await chrony.ask("tracking")):
                        break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(units.log(CHRONY))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    try:
        asyncio.run(whole())
    finally:
        units.end()
    assert any(dict(event.data)["What"] == "StepWaits" for event in events if event.topic == topics.CLOCK)


def test_the_script_that_sets_the_clock(tmp_path: Path) -> None:
    """Its three verbs, with a `date` that only writes down what it was told."""
    script = Path(__file__).parents[2] / "systemd/recorderd-clock"
    said = tmp_path / "said"
    date = tmp_path / "date"
    date.write_text(f'#!/bin/sh\n[ "$1" = +%s ] && echo 1700000000 || echo "$@" >>{said}\n')
    date.chmod(0o755)
    names = ("STATE", "RUN", "ETC", "DATE")
    environment = os.environ | {f"RECORDERD_{n}": str(date if n == "DATE" else tmp_path) for n in names}

    def call(verb: str) -> int:
        return subprocess.run(("sh", str(script), verb), env=environment, check=False).returncode

    assert call("floor") == 0
    (tmp_path / "clock").write_text("1600000000\n")
    call("floor")
    (tmp_path / "clock").write_text("17$(reboot)\n")
    call("floor")
    assert not said.exists()
    (tmp_path / "clock").write_text("1800000000\n")
    call("floor")
    assert said.read_text() == "-u -s @1800000000\n"
    (tmp_path / "zone").write_text("../../etc/passwd\n")
    assert call("zone") == 1
    (tmp_path / "zone").write_text("Asia/Tokyo\n")
    if Path("/usr/share/zoneinfo/Asia/Tokyo").exists():
        assert call("zone") == 0
        assert (tmp_path / "localtime").readlink() == Path("/usr/share/zoneinfo/Asia/Tokyo")
    assert run("sh", "-n", str(script)).returncode == 0
