"""Board health as the service tells it: one event for each change, the supply's alarm, the check with what the service knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from hw.boards.health import BoardReading
from hw.boards.loader import load
from hw.poe.bus_thread import InlineBus
from recorderd.daemon.power_parts import no_board
from recorderd.power.board_health import BoardHealth
from tests.power.simulated_power import Heard, rig, running
from tests.simulated_time import FakeClock, run_simulated


def test_symptoms_are_told_when_they_begin_and_end() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        reading = BoardReading(soc_c=50)
        health = BoardHealth(
            board=load("sim-8port"), clock=clock, events=made.heard, power=made.service, look=lambda: reading
        )
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 8)
            health._take(reading)
            assert health.symptoms == ()
            reading = BoardReading(soc_c=85, under_voltage=True)
            for _ in range(3):
                health._take(reading)
            assert [s.name for s in health.symptoms] == ["soc-temperature", "under-voltage"]
            assert "!! the processor's supply is under voltage" in str(health.line())
            took = await made.until(lambda: len(made.delivering()) < 8)
            assert took <= 0.1, "the supply is shared: under-voltage sheds at once"
            assert made.commits
            health._take(BoardReading(soc_c=60))
            sensors = [(dict(e.source).get("Token", ""), dict(e.data).get("Level")) for e in made.heard.events]
            assert [told for told in sensors if told[1] is not None] == [
                ("soc-temperature", "warning"),
                ("under-voltage", "critical"),
                ("soc-temperature", "good"),
                ("under-voltage", "good"),
            ]

    run_simulated(main)


def test_a_machine_without_a_board_file_misses_no_sensor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    board = no_board()

    async def main(clock: FakeClock) -> None:
        health = BoardHealth(
            board=board, clock=clock, events=Heard(), power=None, runner=InlineBus(), root=Path("/nowhere")
        )
        task = asyncio.create_task(health.run())
        await clock.sleep(60)
        assert health.line() is None
        assert health.symptoms == ()
        task.cancel()
        await asyncio.wait([task])

    run_simulated(main)
    assert caplog.records == []


def test_pse_voltage_is_a_symptom() -> None:
    async def main(clock: FakeClock) -> None:
        board = load("sim-8port")
        board = msgspec.structs.replace(board, supply=msgspec.structs.replace(board.supply, low_v=46, high_v=53))
        made = rig(clock, board)
        health = BoardHealth(board=board, clock=clock, events=made.heard, power=made.service, look=BoardReading)
        async with running(made):
            await made.wait(8)
            health._take(BoardReading())
            assert {s.name for s in health.symptoms} == {"pse-voltage pse0", "pse-voltage pse1"}
            assert "too much" in health.symptoms[0].text

    run_simulated(main)


def test_check_knows_what_the_service_knows() -> None:
    async def main(clock: FakeClock) -> None:
        made = rig(clock, "sim-8port")
        sensors = InlineBus("sensors")  # simulated time does not wait for threads
        health = BoardHealth(
            board=load("sim-8port"), clock=clock, events=made.heard, power=made.service, runner=sensors
        )
        async with running(made):
            await made.until(lambda: len(made.delivering()) == 8)
            made.simulation.adapter.registers.pop(0x21)
            await made.wait(3)
            title, found = await health.check()
            assert title == "Simulated PoE switch, 8 ports"
            texts = [(f.subject, f.severity.value, f.text) for f in found]
            assert ("pse0", "good", "answers: TPS23861 0x05") in texts
            assert any(s == "pse1" and v == "error" and "nothing answers" in t for s, v, t in texts)
            assert any(s == "supply" and v == "warning" for s, v, _ in texts)

    run_simulated(main)
