"""Noise on serial lines: whatever arrives, a driver answers or raises one of its own errors, within bounded time and memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.poe import pd692x0_frames, realtek_mcu_frames
from hw.poe.errors import PoeError
from hw.poe.exaviz import Exaviz
from hw.poe.exaviz_text import parse_line
from hw.poe.pd692x0 import Pd692x0
from hw.poe.pd692x0_link import LineCarrier
from hw.poe.realtek_mcu import RealtekMcu
from hw.poe.text_source import LineText
from hw.sim.pse.load import Load, Supply
from hw.sim.pse.pd692x0_mcu import Pd692x0Mcu
from hw.sim.pse.realtek_mcu_peer import RealtekPeer
from hw.sim.pse.serial_peer import InProcessLine
from tests.hw.simulated_pace import SimulatedPace


class NoisyLine(InProcessLine):
    """Answers with bytes lost, changed, doubled and put in between."""

    def __init__(self, peer, *, request_bytes: int, pace: SimulatedPace, seed: int, rate: float) -> None:
        self.chance, self.rate = random.Random(seed), rate
        super().__init__(lambda request: self._spoil(peer(request)), request_bytes=request_bytes, sleep=pace.sleep)

    def _spoil(self, answer: bytes) -> bytes:
        out = bytearray()
        for byte in answer:
            dice = self.chance.random() / self.rate
            if dice < 0.25:
                continue
            out.append(byte ^ (1 << self.chance.randrange(8)) if dice < 0.5 else byte)
            if 0.5 <= dice < 1:
                out += self.chance.randbytes(self.chance.randrange(1, 4))
        return bytes(out)


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("kind", ["pd692x0", "realtek"])
def test_a_noisy_line_gives_the_truth_or_an_error(kind: str, rate: float) -> None:
    pace = SimulatedPace()
    if kind == "pd692x0":
        mcu = Pd692x0Mcu(now=pace.monotonic, supply=Supply())
        mcu.plug(0, Load(draw_mw=6_000))
        line = NoisyLine(mcu.answer, request_bytes=15, pace=pace, seed=1, rate=rate)
        driver: Pd692x0 | RealtekMcu = Pd692x0(carrier=LineCarrier(line=line, pace=pace), pace=pace, channels=2)
    else:
        peer = RealtekPeer(now=pace.monotonic, supply=Supply(), generation=2)
        peer.plug(0, Load(draw_mw=6_000))
        line = NoisyLine(peer.answer, request_bytes=12, pace=pace, seed=2, rate=rate)
        driver = RealtekMcu(line=line, pace=pace, channels=2, generation=2)
    good = 0
    for _ in range(150):
        pace.sleep(15)
        began = pace.now
        try:
            port = driver.read().ports[0]
        except PoeError:
            assert pace.now - began < 30
            continue
        good += 1
        assert port.delivering
        # The 8-bit sum of the microcontrollers lets one damaged frame in 256 pass: nothing a driver could see.
        assert port.power_mw == 6_000 or kind == "realtek"
    assert good > {0.002: 140, 0.02: 60, 0.2: -1}[rate]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_frames_parse_or_refuse(raw: bytes) -> None:
    for module in (pd692x0_frames, realtek_mcu_frames):
        try:
            frame = module.parse(raw[: module.FRAME_BYTES])
        except module.BadFrame:
            continue
        assert len(raw) >= module.FRAME_BYTES
        assert module.FRAME_BYTES - len(frame[2]) in (3, 4)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=260))
def test_any_text_is_a_line_or_nothing(text: str) -> None:
    parse_line(text)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=20_000))
def test_any_bytes_on_the_cruisers_line(noise: bytes) -> None:
    pace = SimulatedPace()
    line = InProcessLine(lambda request: b"", request_bytes=1_000, sleep=pace.sleep)
    driver = Exaviz(source=LineText(line, pace=pace), ports=((0, 0),), name="Cruiser")
    discard = line.discard
    line.discard = lambda: (discard(), line.push(noise))[0]  # type: ignore[method-assign]
    with pytest.raises(PoeError):
        driver.read()
