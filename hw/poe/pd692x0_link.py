"""Exchanges with a PD692x0, over I2C or UART: one request, one answer, and the way back into step when they are not.

I2C is two transactions: write fifteen bytes, STOP, at least 30 ms, read fifteen bytes, STOP; fifteen zeros mean "not ready". On a UART
the answer is looked for byte by byte in what arrives. Either way an answer counts only with our echo. The ladder when it does not come:
flush and send again with a new echo, once more, then leave the line silent for ten seconds. The controller is never reset from here: that
would switch off every camera.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from hw.poe.controller import LinkCounters
from hw.poe.errors import BusFailed, Rejected
from hw.poe.i2c import Retrying
from hw.poe.line import Line
from hw.poe.pace import Pace
from hw.poe.pd692x0_frames import ECHO_UNSOLICITED, FRAME_BYTES, BadFrame, Frame, Key, build, parse

_READY_S = 0.030
_NOT_READY_S = 0.100
_ATTEMPTS = 3
_SILENCE_S = 10.0
_MAX_BUFFER = 1_024


class Carrier(Protocol):
    """Moves single frames."""

    def send(self, frame: bytes) -> None: ...

    def receive(self) -> list[Frame]:
        """The frames that arrived in time, oldest first; empty: none. Damaged ones are left out."""

    def flush(self) -> None: ...


class I2cCarrier:
    def __init__(self, *, chip: Retrying, pace: Pace) -> None:
        self._chip = chip
        self._pace = pace

    def send(self, frame: bytes) -> None:
        self._chip.write(frame)

    def receive(self) -> list[Frame]:
        wait_s = _READY_S
        for _ in range(3):
            self._pace.sleep(wait_s)
            raw = self._chip.read(FRAME_BYTES)
            if any(raw):
                try:
                    return [parse(raw)]
                except BadFrame:
                    return []
            wait_s = _NOT_READY_S
        return []

    def flush(self) -> None:
        self._pace.sleep(_READY_S)
        self._chip.read(FRAME_BYTES)


class LineCarrier:
    """Finds frames in a byte stream: a window of fifteen with a known key and a right checksum, sliding over everything else."""

    def __init__(self, *, line: Line, pace: Pace, timeout_s: float = 0.4) -> None:
        self._line = line
        self._pace = pace
        self._timeout_s = timeout_s
        self._buffer = b""

    def send(self, frame: bytes) -> None:
        self._line.write(frame)

    def receive(self) -> list[Frame]:
        deadline = self._pace.monotonic() + self._timeout_s
        while (left := deadline - self._pace.monotonic()) > 0:
            data = self._line.read(256, left)
            if not data:
                break
            self._buffer = (self._buffer + data)[-_MAX_BUFFER:]
            frames = self._cut()
            if frames:
                return frames
        return []

    def _cut(self) -> list[Frame]:
        frames = []
        at = 0
        while len(self._buffer) - at >= FRAME_BYTES:
            if self._buffer[at] in (Key.TELEMETRY, Key.REPORT):
                try:
                    frames.append(parse(self._buffer[at : at + FRAME_BYTES]))
                except BadFrame:
                    pass
                else:
                    at += FRAME_BYTES
                    continue
            at += 1
        self._buffer = self._buffer[at:]
        return frames

    def flush(self) -> None:
        self._buffer = b""
        self._line.discard()


class Pd692x0Link:
    """`request` and `command` return the answer's eleven bytes, or raise `BusFailed` and `Rejected`."""

    def __init__(self, *, carrier: Carrier, pace: Pace, name: str) -> None:
        self._carrier = carrier
        self._pace = pace
        self._name = name
        self._echo = 0
        self._silent_until = 0.0
        self._counters = LinkCounters()
        self.restarted = False  # boot telemetry was seen: the controller lost its volatile settings

    @property
    def counters(self) -> LinkCounters:
        return self._counters

    def request(self, words: bytes) -> bytes:
        return self._exchange(Key.REQUEST, words, Key.TELEMETRY)

    def command(self, words: bytes, *, key: Key = Key.COMMAND) -> None:
        report = self._exchange(key, words, Key.REPORT)
        code = int.from_bytes(report[:2], "big")
        if code:
            raise Rejected(f"{self._name}: {words.hex(' ')} refused with {code:#06x}")

    def _exchange(self, key: Key, words: bytes, expected: Key) -> bytes:
        if self._pace.monotonic() < self._silent_until:
            raise BusFailed(f"{self._name}: left silent after lost answers, to get back into step")
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._count(retries=1)
                self._carrier.flush()
            self._echo = (self._echo + 1) % 0xFF
            self._carrier.send(build(key, self._echo, words))
            answer = self._answer(expected)
            if answer is not None:
                self._count(transfers=1)
                return answer.data
        self._silent_until = self._pace.monotonic() + _SILENCE_S
        self._count(transfers=1, failures=1, resynchronisations=1)
        self._counters = replace(self._counters, last_error="no answer")
        raise BusFailed(f"{self._name}: no answer to {words.hex(' ')} in {_ATTEMPTS} tries")

    def _answer(self, expected: Key) -> Frame | None:
        """Ours, or None. Stale answers and telemetry nobody asked for are stepped over, a bounded number of them."""
        for _ in range(4):
            frames = self._carrier.receive()
            if not frames:
                return None
            for frame in frames:
                if frame.echo == ECHO_UNSOLICITED:
                    self.restarted = True
                elif frame.echo != self._echo:
                    continue
                elif frame.key == Key.REPORT and frame.data[:4] == b"\xff\xff\xff\xff":
                    return None  # the controller got our frame damaged
                elif frame.key == expected:
                    return frame
                elif frame.key == Key.REPORT:
                    raise Rejected(f"{self._name}: refused with {frame.data[:2].hex()}")
        return None

    def _count(self, transfers: int = 0, retries: int = 0, failures: int = 0, resynchronisations: int = 0) -> None:
        c = self._counters
        self._counters = LinkCounters(
            c.transfers + transfers,
            c.retries + retries,
            c.failures + failures,
            c.resynchronisations + resynchronisations,
            c.last_error,
        )
