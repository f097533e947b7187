"""Exchanges with a PSE microcontroller on a UART: one command at a time, never pipelined, and resynchronisation."""

from __future__ import annotations

from hw.poe.controller import LinkCounters
from hw.poe.errors import BusFailed, Rejected
from hw.poe.line import Line
from hw.poe.pace import Pace
from hw.poe.realtek_mcu_frames import (
    CHECKSUM_WRONG,
    FRAME_BYTES,
    INCOMPLETE,
    NOT_READY,
    OPCODES,
    BadFrame,
    Frame,
    Function,
    build,
    parse,
)

_TIMEOUT_S = 0.5
_NOT_READY_S = 0.1
_ATTEMPTS = 5
_MAX_BUFFER = 256


class RealtekMcuLink:
    """`generation` is 1 or 2; changed by the driver once it knows."""

    def __init__(self, *, line: Line, pace: Pace, name: str, generation: int = 1) -> None:
        self._line = line
        self._pace = pace
        self._name = name
        self.generation = generation
        self._sequence = 0
        self._buffer = b""
        self.counters = LinkCounters()

    def call(self, function: Function, payload: bytes = b"") -> bytes:
        """The answer's nine bytes. Raises `BusFailed` after five tries."""
        opcode = OPCODES[function][self.generation - 1]
        why = "no answer"
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._note(retries=1)
            self._sequence = self._sequence % 0xFE + 1  # never 0, and never the fill byte
            self._line.write(build(opcode, self._sequence, payload))
            frame = self._answer(opcode)
            if frame is None:
                why = "no answer"
                self._resynchronise()
                continue
            if frame.opcode == opcode:
                self._note(transfers=1)
                return frame.payload
            why = {NOT_READY: "not ready", CHECKSUM_WRONG: "checksum", INCOMPLETE: "incomplete"}[frame.opcode]
            if frame.opcode == NOT_READY:
                self._pace.sleep(_NOT_READY_S)
        self._note(transfers=1, failures=1, last_error=why)
        raise BusFailed(f"{self._name}: {why} to {function.name.lower()} ({opcode:#04x}) in {_ATTEMPTS} tries")

    def set(self, function: Function, payload: bytes) -> None:
        """A call whose answer says in its second byte whether it was accepted."""
        answer = self.call(function, payload)
        if answer[1]:
            raise Rejected(f"{self._name}: {function.name.lower()} {payload.hex(' ')} refused with {answer[1]:#04x}")

    def _answer(self, opcode: int) -> Frame | None:
        """The frame with our opcode and sequence, or an error opcode; older answers are stepped over."""
        deadline = self._pace.monotonic() + _TIMEOUT_S
        while (left := deadline - self._pace.monotonic()) > 0:
            data = self._line.read(_MAX_BUFFER, left)
            if not data:
                return None
            self._buffer = (self._buffer + data)[-_MAX_BUFFER:]
            while len(self._buffer) >= FRAME_BYTES:
                try:
                    frame = parse(self._buffer[:FRAME_BYTES])
                except BadFrame:
                    self._buffer = self._buffer[1:]
                    continue
                self._buffer = self._buffer[FRAME_BYTES:]
                if frame.opcode == opcode and frame.sequence == self._sequence:
                    return frame
                if frame.opcode in (NOT_READY, CHECKSUM_WRONG, INCOMPLETE) and frame.sequence == self._sequence:
                    return frame
        return None

    def _resynchronise(self) -> None:
        self._buffer = b""
        self._line.discard()
        self._note(resynchronisations=1)

    def _note(
        self, transfers: int = 0, retries: int = 0, failures: int = 0, resynchronisations: int = 0, last_error: str = ""
    ) -> None:
        c = self.counters
        self.counters = LinkCounters(
            c.transfers + transfers,
            c.retries + retries,
            c.failures + failures,
            c.resynchronisations + resynchronisations,
            last_error or c.last_error,
        )
