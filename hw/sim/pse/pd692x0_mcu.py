"""A simulated PD692x0 controller with BT firmware, byte by byte: ports, its own budget, reports, and the faults of its serial link."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from hw.sim.pse.load import Load, Supply

_CLASS_DECIWATT = {0: 154, 1: 40, 2: 70, 3: 154, 4: 300, 5: 450, 6: 600, 7: 750, 8: 900}
_DETECT_S = 0.6
_MODE_DECIWATT = {0: 900, 1: 600, 2: 300, 3: 150, 9: 300}


@dataclass(slots=True)
class _Port:
    load: Load | None = None
    enabled: bool = True
    cfg1_high: int = 0x00
    cfg2: int = 0x20
    mode: int = 2
    added: int = 0
    priority: int = 3
    status: int = 0x1B
    last_shutdown: int = 0
    ready_at: float = 0.0


@dataclass(slots=True)
class LinkFaults:
    """What the next answers suffer; each counts down."""

    not_ready: int = 0  # fifteen zeros
    bad_checksum: int = 0
    stale: int = 0  # the previous answer again
    lost_byte: int = 0
    lost: int = 0
    doubled: int = 0
    telemetry_before: int = 0  # unsolicited, ahead of the answer
    refuse_checksum: int = 0  # claims that the request was damaged


@dataclass(slots=True)
class Pd692x0Mcu:
    """`message_in` takes fifteen bytes, `message_out` gives the answer: the two I2C transactions. `answer` is the same for a UART."""

    now: Callable[[], float]
    supply: Supply
    count: int = 8
    product: int = 24
    bank_w: int = 120
    guard_w: int = 5
    name: str = "pse"
    faults: LinkFaults = field(default_factory=LinkFaults)
    ports: list[_Port] = field(default_factory=list)
    saves: int = 0
    writes: list[bytes] = field(default_factory=list)
    _out: bytes = b""
    _previous: bytes = b""
    _asked_at: float = 0.0

    def __post_init__(self) -> None:
        self.ports = [_Port() for _ in range(self.count)]

    # --- the test's side

    def plug(self, port: int, load: Load) -> None:
        self.ports[port].load = load
        self.ports[port].ready_at = self.now() + _DETECT_S

    def unplug(self, port: int) -> None:
        self.touch()
        self.ports[port].load = None
        if self.ports[port].status >= 0x80:
            self.ports[port].status = self.ports[port].last_shutdown = 0x1E
            self.ports[port].ready_at = self.now() + 0.3

    def powered(self, port: int) -> bool:
        self.touch()
        return 0x80 <= self.ports[port].status <= 0x9F

    def restart(self) -> None:
        """As after a brown-out: volatile settings are gone, the next thing on the line is boot telemetry."""
        for port in self.ports:
            port.status, port.enabled, port.mode, port.priority, port.added = 0x1B, True, 2, 3, 0
            port.ready_at = self.now() + _DETECT_S
        self._out = self._frame(0x03, 0xFF, b"\x00\x00")

    def touch(self) -> None:
        """Detects, grants within the bank, trips."""
        now = self.now()
        for port in self.ports:
            if not port.enabled:
                port.status = 0x1A
                continue
            if port.load is None:
                if port.status != 0x1E or now >= port.ready_at:
                    port.status = 0x1B
                continue
            draw = port.load.draw(now)
            if port.status >= 0x80:
                if port.load.shorted:
                    self._trip(port, 0x34)
                elif draw > self._limit_deciwatt(port) * 100 * 1.05:
                    self._trip(port, 0x1F)
                continue
            if now < port.ready_at:
                continue
            if not 17_000 <= port.load.resistance_ohm <= 29_500:
                port.status = 0x25
            elif port.load.class_overcurrent:
                port.status = 0x43
            else:
                port.status = 0x81 if self._room(port) else 0x20
        on = sorted((p for p in self.ports if p.status >= 0x80), key=lambda p: p.priority)
        while on and sum(self._wants(p) for p in on) > (self.bank_w - self.guard_w) * 10:
            on.pop().status = 0x20  # a bank that became smaller takes power back
        self.supply.draws_mw[self.name] = sum(
            p.load.draw(now) for p in self.ports if p.status >= 0x80 and p.load is not None
        )

    def _trip(self, port: _Port, code: int) -> None:
        port.status = port.last_shutdown = code
        port.ready_at = self.now() + 5.0

    def _limit_deciwatt(self, port: _Port) -> int:
        return _MODE_DECIWATT.get(port.mode, 300) + port.added

    def _wants(self, port: _Port) -> int:
        if port.load is None:
            return 0
        return min(_CLASS_DECIWATT[port.load.pd_class], self._limit_deciwatt(port))

    def _room(self, port: _Port) -> bool:
        """Grants within the bank less its guard; ports of lower priority give way."""
        free = (self.bank_w - self.guard_w) * 10 - sum(self._wants(p) for p in self.ports if p.status >= 0x80)
        lower = [p for p in self.ports if p.status >= 0x80 and p.priority > port.priority]
        if self._wants(port) > free + sum(self._wants(p) for p in lower):
            return False
        for victim in sorted(lower, key=lambda p: -p.priority):
            if self._wants(port) <= free:
                break
            free += self._wants(victim)
            victim.status = 0x20
        return True

    # --- the bus's side

    def message_in(self, data: bytes) -> None:
        self._asked_at = self.now()
        self._out = self.answer(data)

    def message_out(self, length: int) -> bytes:
        if self.faults.not_ready > 0 or self.now() - self._asked_at < 0.0299:
            self.faults.not_ready = max(0, self.faults.not_ready - 1)
            return bytes(length)
        out, self._out = self._out, b""
        return out[:length].ljust(length, b"\x00")

    def answer(self, request: bytes) -> bytes:
        """What goes back for fifteen bytes that came in, with whatever fault is due."""
        self.touch()
        self.writes.append(request)
        if (
            len(request) != 15
            or sum(request[:13]) & 0xFFFF != request[13] << 8 | request[14]
            or self.faults.refuse_checksum
        ):
            self.faults.refuse_checksum = max(0, self.faults.refuse_checksum - 1)
            return self._frame(0x52, request[1] if len(request) > 1 else 0, b"\xff\xff\xff\xff")
        key, echo, words = request[0], request[1], request[2:13]
        if key == 0x02:
            reply = self._frame(0x03, echo, self._telemetry(words))
        elif key in (0x00, 0x01):
            reply = self._frame(0x52, echo, struct.pack(">H", self._command(key, words)))
        else:
            reply = self._frame(0x52, echo, b"\xff\xff\x00\x00")
        return self._spoil(reply)

    def _spoil(self, reply: bytes) -> bytes:
        f = self.faults
        good, self._previous, previous = reply, reply, self._previous
        if f.stale > 0:
            f.stale -= 1
            return previous or bytes(15)
        if f.lost > 0:
            f.lost -= 1
            return b""
        if f.bad_checksum > 0:
            f.bad_checksum -= 1
            good = reply[:14] + bytes([reply[14] ^ 0x01])
        if f.lost_byte > 0:
            f.lost_byte -= 1
            good = reply[:7] + reply[8:]
        if f.doubled > 0:
            f.doubled -= 1
            good = reply + reply
        if f.telemetry_before > 0:
            f.telemetry_before -= 1
            good = self._frame(0x03, 0xFF, b"\x00\x00") + good
        return good

    @staticmethod
    def _frame(key: int, echo: int, data: bytes) -> bytes:
        raw = bytearray([0x4E] * 15)
        raw[0], raw[1] = key, echo
        raw[2 : 2 + len(data)] = data
        struct.pack_into(">H", raw, 13, sum(raw[:13]))
        return bytes(raw)

    def _telemetry(self, words: bytes) -> bytes:
        volts = round(self.supply.voltage_mv() / 100)
        if words[:3] == b"\x07\x1e\x21":
            return bytes((0, 0, self.product)) + struct.pack(">H", 355)
        if words[:3] == b"\x07\x0b\x60":
            used = sum(p.load.draw(self.now()) for p in self.ports if p.status >= 0x80 and p.load is not None) / 1_000
            promised = sum(self._wants(p) for p in self.ports if p.status >= 0x80) // 10
            left = max(0, self.bank_w - promised)
            return struct.pack(">HHHHBH", round(used), promised, left, self.bank_w, 15, volts)
        if words[:3] == b"\x07\x0b\x57":
            return struct.pack(">HHHB", self.bank_w, 585, 400, self.guard_w)
        if words[0] == 0x05 and words[2] < self.count:
            return self._port_telemetry(words[1], self.ports[words[2]], volts)
        return b""

    def _port_telemetry(self, subject: int, port: _Port, volts: int) -> bytes:
        on = port.status >= 0x80
        draw = port.load.draw(self.now()) if on and port.load is not None else 0.0
        pd_class = port.load.pd_class if on and port.load is not None else 0x0C
        match subject:
            case 0xC0:
                cfg1 = port.cfg1_high | int(port.enabled)
                return bytes((port.status, cfg1, port.cfg2, port.mode, port.added, port.priority))
            case 0xC1:
                deciwatt = round(draw / 100)
                head = bytes((port.status, int(port.enabled), pd_class)) + struct.pack(">H", deciwatt)
                return head + bytes((0x4E, 0x4E, port.last_shutdown, 0))
            case 0xC4:
                wants = self._wants(port)
                return bytes((0, 0, pd_class, pd_class)) + struct.pack(">HBH", wants, pd_class << 4, wants)
            case 0xC5:
                port_volts = volts - 1 if on else 0
                milliamps = round(draw / (port_volts / 10)) if on else 0
                return struct.pack(">HHHBH", volts, milliamps, round(draw / 100), 0x4E, port_volts)
        return b""

    def _command(self, key: int, words: bytes) -> int:
        if key == 0x01 and words[:2] == b"\x06\x0f":
            self.saves += 1
            return 0
        if words[:2] == b"\x05\xc0":
            return self._set_parameters(words[2:])
        if words[:3] == b"\x07\x0b\x57":
            self.bank_w, self.guard_w = words[4] << 8 | words[5], words[10]
            return 0
        return 0x0001

    def _set_parameters(self, words: bytes) -> int:
        if words[0] >= self.count:
            return 0x8001
        port = self.ports[words[0]]
        if words[1] & 0x0F != 0x0F:
            was, port.enabled = port.enabled, bool(words[1] & 0x0F)
            if not port.enabled:
                port.status = 0x1A
            elif not was:
                port.status, port.ready_at = 0x1B, self.now() + _DETECT_S
        if words[2] != 0xFF:
            port.cfg2 = words[2]
        if words[3] != 0xFF:
            port.mode = words[3]
        if words[4] != 0xFF:
            port.added = words[4]
        if words[5] in (1, 2, 3):
            port.priority = words[5]
        self.touch()
        return 0
