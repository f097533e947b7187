"""A simulated chip of the four-port register dialect: the state machine of each port, its events, its measurements.

Time is given by `now` (seconds) and everything that was due happens, in order, at the next access. A `QuadKind` holds what differs between
chips. The chip is as unkind as the data sheets allow: detection enables written within 1.2 ms of a mode, power or reset write are lost and
counted, power-off forgets the port's settings, power-on during cool-down is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hw.sim.pse.load import Load, Supply

OFF, MANUAL, SEMI, AUTO = range(4)
_SETTLE_S = 0.0012
_DETECT_S = 0.28
_REDETECT_S = 0.40
_TICUT_S = 0.060
_TLIM_S = 0.060
_TSTART_MS = 60.0
_TDIS_S = 0.360
_COOL_S = (1.0, 1.0, 2.0, 4.0)
_INRUSH_MA = 425.0
_VIN_LOW_MV = 40_000.0
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class QuadKind:
    """The chip's constants, as its register sheet gives them."""

    reset_values: dict[int, int]
    volts_per_count: float
    amps_per_count: float
    class_codes: dict[int, int]  # class of the load -> nibble
    limit_ma: Callable[[QuadChip, int], float]  # the current at which the port's policing trips
    limit_registers: Callable[[QuadChip, int], None]  # sets the port's limit to its reset value
    overcurrent_code: int = 7
    cool_register: int = 0x45


@dataclass(slots=True)
class _Port:
    load: Load | None = None
    phase: str = "idle"  # idle, detect, inrush, on, cool
    due: float = NEVER
    wanted: bool = False  # power-on pending until the next good detection
    trip: str = ""  # what happens at `due` while on
    status: int = 0  # as in registers 0x0c..0x0f
    since: float = 0.0


@dataclass(slots=True)
class Events:
    """Latches; the low and high nibble of each register pair."""

    power_enable: int = 0
    power_good: int = 0
    detect: int = 0
    classified: int = 0
    overload: int = 0
    disconnect: int = 0
    start: int = 0
    short: int = 0
    supply: int = 0

    def forget(self, port: int) -> None:
        keep = ~(1 << port)
        for name in ("power_enable", "power_good", "detect", "classified", "overload", "disconnect", "start", "short"):
            setattr(self, name, getattr(self, name) & keep)


@dataclass(slots=True)
class Misuse:
    """What a driver did that the sheet forbids."""

    early_detect_enable: int = 0
    cut_during_inrush: int = 0
    power_on_ignored: int = 0


class QuadChip:
    """`name` keys its draw on the shared supply."""

    def __init__(self, *, kind: QuadKind, now: Callable[[], float], supply: Supply, name: str = "pse") -> None:
        self.kind = kind
        self.registers = bytearray(256)
        self.ports = [_Port() for _ in range(4)]
        self.events = Events()
        self.misuse = Misuse()
        self.temperature_c = 41.0
        self.over_temperature = False
        self._now = now
        self._supply = supply
        self._name = name
        self._settled_at = 0.0
        self._seen = now()
        self._supply_was_low = False
        self.power_on_reset()

    # --- the test's side

    def plug(self, port: int, load: Load) -> None:
        self.touch()
        self.ports[port].load = load
        self.touch()

    def unplug(self, port: int) -> None:
        self.touch()
        self.ports[port].load = None
        self.touch()

    def powered(self, port: int) -> bool:
        self.touch()
        return self.ports[port].phase in ("inrush", "on")

    def power_on_reset(self) -> None:
        """Registers as after power-up: everything off unless the AUTO strap is in the reset values."""
        self.registers[:] = bytes(256)
        for register, value in self.kind.reset_values.items():
            self.registers[register] = value
        for index, port in enumerate(self.ports):
            self.ports[index] = _Port(load=port.load)
            self.kind.limit_registers(self, index)
        self.events = Events(supply=0x30)
        self._settled_at = self._now() + _SETTLE_S
        self._restart_detection()

    def touch(self) -> None:
        """Lets everything happen that is due by now, then looks at the loads as they are."""
        now = self._now()
        for _ in range(10_000):
            index = min(range(4), key=lambda i: self.ports[i].due)
            at = self.ports[index].due
            if at > now:
                break
            self._due(index, at)
        self._account(now)
        self._check_supply(now)
        for index, port in enumerate(self.ports):
            if port.phase == "on":
                self._watch(index, port, now)
        self._seen = now

    # --- the bus's side

    def read_register(self, register: int) -> int:
        self.touch()
        events = self.events
        match register:
            case 0x00:
                return self._interrupts() & self.registers[0x01]
            case 0x02 | 0x03:
                value = events.power_enable | events.power_good << 4
                if register & 1:
                    events.power_enable = events.power_good = 0
                return value
            case 0x04 | 0x05:
                value = events.detect | events.classified << 4
                if register & 1:
                    events.detect = events.classified = 0
                return value
            case 0x06 | 0x07:
                value = events.overload | events.disconnect << 4
                if register & 1:
                    events.overload = events.disconnect = 0
                return value
            case 0x08 | 0x09:
                value = events.start | events.short << 4
                if register & 1:
                    events.start = events.short = 0
                return value
            case 0x0A | 0x0B:
                value = events.supply
                if register & 1:
                    events.supply = 0
                return value
            case 0x0C | 0x0D | 0x0E | 0x0F:
                return self.ports[register - 0x0C].status
            case 0x10:
                return self._mask("inrush", "on") | self._mask("on") << 4
            case 0x2C:
                return round((self.temperature_c + 20) / 0.652) & 0xFF
            case 0x2E | 0x2F:
                return self._half(self._supply.voltage_mv() / 1_000 / self.kind.volts_per_count, register)
        if 0x30 <= register <= 0x3F:
            return self._measured(register)
        if 0x60 <= register <= 0x67 and not self.registers[register]:
            return self._resistance(register)
        return self.registers[register]

    def write_register(self, register: int, value: int) -> None:
        self.touch()
        now = self._now()
        match register:
            case 0x12:
                self._write_mode(value)
            case 0x14:
                if now < self._settled_at:
                    self.misuse.early_detect_enable += 1
                    return
                self.registers[0x14] = value
                self._restart_detection()
            case 0x18:
                for index in range(4):
                    if value >> index & 0x11:
                        self.registers[0x14] |= value & 0x11 << index
                self._restart_detection()
            case 0x19:
                self._write_power(value)
            case 0x1A:
                self._write_reset(value)
            case _ if register < 0x10 and register != 0x01:
                pass  # read-only
            case _:
                self.registers[register] = value
        if register in (0x12, 0x18, 0x19, 0x1A):
            self._settled_at = now + _SETTLE_S
        self.touch()

    # --- inside

    def mode(self, port: int) -> int:
        return self.registers[0x12] >> 2 * port & 3

    def _interrupts(self) -> int:
        e = self.events
        flags = (
            e.power_enable,
            e.power_good,
            e.disconnect,
            e.detect,
            e.classified,
            e.overload | e.short,
            e.start,
            e.supply,
        )
        return sum(1 << bit for bit, latch in enumerate(flags) if latch)

    def _mask(self, *phases: str) -> int:
        return sum(1 << i for i, port in enumerate(self.ports) if port.phase in phases)

    @staticmethod
    def _half(count: float, register: int) -> int:
        word = min(0x3FFF, max(0, math.floor(count + 0.5)))
        return word >> 8 if register & 1 else word & 0xFF

    def _measured(self, register: int) -> int:
        port = self.ports[(register - 0x30) // 4]
        volts = self._supply.voltage_mv() / 1_000 - 0.1 if port.phase in ("inrush", "on") else 0.0
        if (register - 0x30) % 4 < 2:
            return self._half(self._milliamps(port) / 1_000 / self.kind.amps_per_count, register)
        return self._half(volts / self.kind.volts_per_count, register)

    def _resistance(self, register: int) -> int:
        port = self.ports[(register - 0x60) // 2]
        ohms = port.load.resistance_ohm if port.load is not None else 0
        word = 0x8000 if port.load is None else min(0x3FFF, round(ohms / 11.0966))
        if port.load is not None and port.load.shorted:
            word = 0xC000
        return word >> 8 if register & 1 else word & 0xFF

    def _milliamps(self, port: _Port) -> float:
        if port.load is None or port.phase not in ("inrush", "on"):
            return 0.0
        if port.phase == "inrush" or port.load.shorted:
            return _INRUSH_MA
        volts = self._supply.voltage_mv() / 1_000 - 0.1
        return port.load.draw(self._now()) / volts if volts > 1 else 0.0

    def _write_mode(self, value: int) -> None:
        self.registers[0x12] = value
        for index, port in enumerate(self.ports):
            if self.mode(index) == OFF and port.phase != "idle":
                self._off(index)
        self._restart_detection()

    def _write_power(self, value: int) -> None:
        for index, port in enumerate(self.ports):
            if value >> index & 0x10:
                if port.phase == "inrush":
                    self.misuse.cut_during_inrush += 1
                self._off(index)
                self.events.forget(index)
                self.registers[0x14] &= ~(0x11 << index) & 0xFF
                self.kind.limit_registers(self, index)
            elif value >> index & 1:
                if self.mode(index) == OFF or port.phase == "cool":
                    self.misuse.power_on_ignored += 1
                elif self.mode(index) == MANUAL:
                    self._power_up(index, self._now())
                elif port.phase == "detect":
                    port.wanted = True

    def _write_reset(self, value: int) -> None:
        if value & 0x10:
            self.power_on_reset()
            return
        for index in range(4):
            if value >> index & 1:
                self._off(index)
        if value & 0x80:
            self.events = Events()

    def _off(self, index: int) -> None:
        self.ports[index] = _Port(load=self.ports[index].load)
        self._account(self._now())

    def _restart_detection(self) -> None:
        for index, port in enumerate(self.ports):
            armed = self.registers[0x14] >> index & 1 and self.mode(index) in (SEMI, AUTO)
            if armed and port.phase == "idle":
                port.phase, port.due = "detect", self._now() + _DETECT_S
            elif not armed and port.phase == "detect":
                port.phase, port.due, port.wanted = "idle", NEVER, False

    def _due(self, index: int, at: float) -> None:
        port = self.ports[index]
        port.due = NEVER
        match port.phase:
            case "detect":
                self._detected(index, port, at)
            case "inrush":
                self._inrush_over(index, port, at)
            case "on":
                self._tripped(index, port, at)
            case "cool":
                port.phase = "idle"
                if self.registers[0x14] >> index & 1 and self.mode(index) in (SEMI, AUTO):
                    port.phase, port.due = "detect", at + _DETECT_S

    def _detected(self, index: int, port: _Port, at: float) -> None:
        nibble = self._detect_code(port.load)
        port.status = nibble
        self.events.detect |= 1 << index
        if nibble == 0x4 and self.registers[0x14] >> index & 0x10 and port.load is not None:
            code = self.kind.class_codes.get(port.load.pd_class, 0)
            if port.load.class_overcurrent:
                code = self.kind.overcurrent_code
            port.status |= code << 4
            self.events.classified |= 1 << index
            good = code not in (0, self.kind.overcurrent_code)
            if good and (port.wanted or self.mode(index) == AUTO):
                self._power_up(index, at)
                return
        port.due = at + _REDETECT_S

    @staticmethod
    def _detect_code(load: Load | None) -> int:
        if load is None:
            return 0x6
        if load.shorted or load.resistance_ohm < 1_800:
            return 0x1
        if load.capacitance_nf > 2_000:
            return 0xC
        if load.resistance_ohm < 17_000:
            return 0x3
        return 0x4 if load.resistance_ohm <= 29_500 else 0x5

    def _power_up(self, index: int, at: float) -> None:
        port = self.ports[index]
        port.wanted = False
        port.phase, port.since = "inrush", at
        self.events.power_enable |= 1 << index
        load = port.load
        wait = _TSTART_MS if load is None or load.shorted or load.inrush_ms > _TSTART_MS else load.inrush_ms
        port.due = at + wait / 1_000
        self._account(at)
        self._check_supply(at)

    def _inrush_over(self, index: int, port: _Port, at: float) -> None:
        if port.load is not None and (port.load.shorted or port.load.inrush_ms > _TSTART_MS):
            self.events.start |= 1 << index
            self._fail(index, at)
            return
        port.phase = "on"
        self.events.power_good |= 1 << index
        self._account(at)
        self._watch(index, port, at)

    def _watch(self, index: int, port: _Port, now: float) -> None:
        """Starts or stops the timer of what is wrong with a powered port."""
        load = port.load
        if load is None or (not load.shorted and self._milliamps(port) < 7.5):
            trip, wait = "disconnect", _TDIS_S
        elif load.shorted:
            trip, wait = "short", _TLIM_S
        elif self._milliamps(port) > self.kind.limit_ma(self, index):
            trip, wait = "overload", _TICUT_S
        else:
            port.trip, port.due = "", NEVER
            return
        if trip == "disconnect" and not self.registers[0x13] >> index & 1:
            return
        if port.trip != trip:
            port.trip, port.due = trip, now + wait

    def _tripped(self, index: int, port: _Port, at: float) -> None:
        if port.trip == "disconnect":
            self.events.disconnect |= 1 << index
            port.phase, port.trip, port.status = "idle", "", 0
            self.events.power_enable |= 1 << index
            self.registers[0x14] &= ~(0x11 << index) & 0xFF
            if self.mode(index) == AUTO:
                self.registers[0x14] |= 0x11 << index
                port.phase, port.due = "detect", at + _DETECT_S
            self._account(at)
            return
        if port.trip == "short":
            self.events.short |= 1 << index
        else:
            self.events.overload |= 1 << index
        self._fail(index, at)

    def _fail(self, index: int, at: float) -> None:
        port = self.ports[index]
        port.trip, port.status = "", 0
        self.events.power_enable |= 1 << index
        port.phase = "cool"
        port.due = at + _COOL_S[self.registers[self.kind.cool_register] >> 6]
        self._account(at)

    def _account(self, now: float) -> None:
        volts = max(1.0, self._supply.nominal_mv / 1_000)
        total = 0.0
        for port in self.ports:
            if port.load is None:
                continue
            if port.phase == "inrush" or (port.phase == "on" and port.load.shorted):
                total += _INRUSH_MA * volts
            elif port.phase == "on":
                total += port.load.draw(now)
        self._supply.draws_mw[self._name] = total

    def _check_supply(self, now: float) -> None:
        low = self._supply.voltage_mv() < _VIN_LOW_MV
        if (low and not self._supply_was_low) or self.over_temperature:
            self.events.supply |= 0x10 if low else 0x80
            for index in range(4):
                if self.ports[index].phase != "idle":
                    self.events.power_enable |= self._mask("inrush", "on")
                    self._off(index)
        self._supply_was_low = low
        if not low and not self.over_temperature:
            self._restart_detection()
        self._account(now)
