"""A simulated PSE microcontroller of either generation, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hw.sim.pse.load import Load, Supply

_DECIWATT = {0: 154, 1: 40, 2: 70, 3: 154, 4: 300, 5: 450, 6: 600, 7: 750, 8: 900}
_DETECT_S = 0.7

#                   enable budget ltype limit prio  sys   port  four  power pport
_GENERATIONS = {
    1: dict(zip((0x00, 0x18, 0x15, 0x16, 0x1A, 0x20, 0x21, 0x28, 0x23, 0x30), range(10), strict=True)),
    2: dict(zip((0x01, 0x04, 0x12, 0x13, 0x15, 0x40, 0x42, 0x43, 0x41, 0x44), range(10), strict=True)),
}
_DEVICE = {1: (0xE1, 0x21), 2: (0x01, 0x38)}


@dataclass(slots=True)
class _Port:
    load: Load | None = None
    on: bool = True
    state: int = 1
    limit: int = 0  # 0.2 W; 0: by class
    priority: int = 1
    due: float = 0.0


@dataclass(slots=True)
class McuFaults:
    """Counted down by the answers they spoil."""

    not_ready: int = 0
    bad_checksum: int = 0
    stale: int = 0
    lost: int = 0
    lost_byte: int = 0
    doubled: int = 0
    claims_checksum: int = 0


@dataclass(slots=True)
class RealtekPeer:
    """`answer` takes twelve bytes and gives what comes back."""

    now: Callable[[], float]
    supply: Supply
    generation: int = 1
    count: int = 8
    budget: int = 1_200  # 0.1 W
    guard: int = 120
    name: str = "pse"
    faults: McuFaults = field(default_factory=McuFaults)
    ports: list[_Port] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    _previous: bytes = b""

    def __post_init__(self) -> None:
        self.ports = [_Port() for _ in range(self.count)]

    def plug(self, port: int, load: Load) -> None:
        self.ports[port].load = load
        self.ports[port].due = self.now() + _DETECT_S

    def unplug(self, port: int) -> None:
        self.ports[port].load = None
        self.touch()

    def powered(self, port: int) -> bool:
        self.touch()
        return self.ports[port].state == 2

    def _wants(self, port: _Port) -> int:
        if port.load is None:
            return 0
        by_class = _DECIWATT[port.load.pd_class]
        return min(by_class, port.limit * 2) if port.limit else by_class

    def touch(self) -> None:
        now = self.now()
        for port in self.ports:
            if not port.on:
                port.state = 0
            elif port.load is None:
                port.state = 1
            elif port.state == 2:
                if port.load.shorted or port.load.draw(now) / 100 > self._wants(port) * 1.1:
                    port.state, port.due = 4, now + 5
            elif now >= port.due:
                used = sum(self._wants(p) for p in self.ports if p.state == 2)
                if not 17_000 <= port.load.resistance_ohm <= 29_500:
                    port.state = 1
                elif port.load.class_overcurrent:
                    port.state = 5
                else:
                    port.state = 2 if used + self._wants(port) <= self.budget - self.guard else 6
        self._shed()
        self.supply.draws_mw[self.name] = sum(
            p.load.draw(now) for p in self.ports if p.state == 2 and p.load is not None
        )

    def _shed(self) -> None:
        """A budget that became smaller takes power back: from the lowest priority, of those from the last port."""
        on = sorted((p for p in self.ports if p.state == 2), key=lambda p: p.priority, reverse=True)
        while on and sum(self._wants(p) for p in on) > self.budget - self.guard:
            on.pop().state = 6

    def answer(self, request: bytes) -> bytes:
        self.touch()
        self.requests.append(request)
        opcode, sequence = request[0], request[1]
        if self.faults.claims_checksum or sum(request[:11]) % 256 != request[11]:
            self.faults.claims_checksum = max(0, self.faults.claims_checksum - 1)
            return self._frame(0xFE, sequence, b"")
        if self.faults.not_ready:
            self.faults.not_ready -= 1
            return self._frame(0xFF, sequence, b"")
        function = _GENERATIONS[self.generation].get(opcode)
        if function is None:
            return b""
        return self._spoil(self._frame(opcode, sequence, self._payload(function, request[2:11])))

    def _spoil(self, good: bytes) -> bytes:
        f, previous, self._previous = self.faults, self._previous, good
        if f.lost:
            f.lost -= 1
            return b""
        if f.stale:
            f.stale -= 1
            return previous
        if f.bad_checksum:
            f.bad_checksum -= 1
            return good[:11] + bytes([good[11] ^ 0xFF])
        if f.lost_byte:
            f.lost_byte -= 1
            return good[:5] + good[6:]
        if f.doubled:
            f.doubled -= 1
            return good * 2
        return good

    @staticmethod
    def _frame(opcode: int, sequence: int, payload: bytes) -> bytes:
        raw = bytes([opcode, sequence, *payload[:9], *([0xFF] * (9 - len(payload)))])
        return raw + bytes([sum(raw) % 256])

    def _payload(self, function: int, words: bytes) -> bytes:
        if function in (0, 2, 3, 4):
            return self._set(function, words)
        if function == 1:
            self.budget, self.guard = words[1] * 256 + words[2], words[3] * 256 + words[4]
            return bytes((words[0], 0))
        if function == 5:
            high, low = _DEVICE[self.generation]
            return bytes((1, self.count, 0xFF, high, low, 0x11, 0x02, 0x00, 0x00))
        if function == 6:
            port = self.ports[words[0]]
            pd_class = port.load.pd_class if port.load is not None and port.state == 2 else 0x0F
            if self.generation == 1:
                return bytes((words[0], port.state, 0, pd_class))
            return bytes((words[0], port.state, pd_class << 4, 0))
        if function == 7:
            return self._four(words[0])
        if function == 8:
            used = round(sum(p.load.draw(self.now()) for p in self.ports if p.state == 2 and p.load is not None) / 100)
            return bytes((used // 256, used % 256, self.budget // 256, self.budget % 256))
        return self._measured(words[0])

    def _set(self, function: int, words: bytes) -> bytes:
        if words[0] >= self.count:
            return bytes((words[0], 1))
        port = self.ports[words[0]]
        if function == 0:
            if words[1] and not port.on:
                port.state, port.due = 1, self.now() + _DETECT_S
            port.on = bool(words[1])
        elif function == 3:
            port.limit = words[1]
        elif function == 4:
            port.priority = words[1]
        self.touch()
        return bytes((words[0], 0))

    def _four(self, first: int) -> bytes:
        if self.generation == 1:
            found = [(i, self.ports[i].state) for i in range(first, min(first + 4, self.count))]
            return bytes(value for pair in found for value in pair)
        states = [self.ports[i].state if i < self.count else 0 for i in range(first * 4, first * 4 + 4)]
        return bytes([first, *(value for state in states for value in (state, 0))])[:9]

    def _measured(self, index: int) -> bytes:
        port = self.ports[index]
        volts = self.supply.voltage_mv() / 1_000 if port.state == 2 else 0.0
        draw = port.load.draw(self.now()) if port.state == 2 and port.load is not None else 0.0
        counts = int(volts / 0.06445 + 0.5)
        milliamps = int(draw / volts + 0.5) if volts else 0
        deciwatt = int(draw / 100 + 0.5)
        raw = 180  # (220 - 180) * 1.25 = 50 C
        return bytes((index, *divmod(counts, 256), *divmod(milliamps, 256), *divmod(raw, 256), *divmod(deciwatt, 256)))
