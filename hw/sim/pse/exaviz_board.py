"""A simulated Exaviz board: what it prints, round after round, and the commands it obeys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hw.sim.pse.load import Load, Supply

_WATTS = {0: 15.5, 1: 4.0, 2: 7.0, 3: 15.5, 4: 30.0}


@dataclass(slots=True)
class _Port:
    load: Load | None = None
    state: str = "detecting"
    due: float = 0.0


@dataclass(slots=True)
class ExavizBoard:
    """`style` is "interceptor" or "cruiser". `text()` is one round; `obey` takes one command line."""

    now: Callable[[], float]
    supply: Supply
    style: str = "interceptor"
    places: tuple[tuple[int, int], ...] = tuple((0, p) for p in range(8))
    name: str = "pse"
    ports: dict[tuple[int, int], _Port] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ports = {place: _Port() for place in self.places}

    def plug(self, channel: int, load: Load) -> None:
        port = self.ports[self.places[channel]]
        port.load, port.due = load, self.now() + 0.8

    def unplug(self, channel: int) -> None:
        self.ports[self.places[channel]].load = None

    def powered(self, channel: int) -> bool:
        self.touch()
        return self.ports[self.places[channel]].state == "power-on"

    def touch(self) -> None:
        now = self.now()
        for port in self.ports.values():
            load = port.load
            if port.state == "disabled":
                continue
            if load is None:
                port.state = "detecting"
            elif port.state == "power-on":
                if load.shorted or load.draw(now) > 34_000:
                    port.state, port.due = "fault", now + 5
            elif now >= port.due:
                port.state = "power-on" if load.pd_class <= 4 and not load.shorted else "fault"
        self.supply.draws_mw[self.name] = sum(
            p.load.draw(now) for p in self.ports.values() if p.state == "power-on" and p.load is not None
        )

    def text(self) -> str:
        self.touch()
        volts = self.supply.voltage_mv() / 1_000
        lines = ["ip808ar version 1.2"] if self.style == "interceptor" else []
        lines += [self._port_line(place, port, volts) for place, port in self.ports.items()]
        for board in sorted({b for b, _ in self.places}):
            amperes = sum(self.supply.draws_mw.values()) / 1_000 / volts if volts else 0.0
            if self.style == "interceptor":
                lines.append(f"{board}: {volts:.4f}/40.0000-60.0000 {amperes:.5f}/2.50000 {volts * amperes:.2f}/120")
            else:
                lines.append(f"{board}: {volts:.4f} {amperes:.5f}")
        return "".join(line + "\n" for line in lines)

    def _port_line(self, place: tuple[int, int], port: _Port, volts: float) -> str:
        on = port.state == "power-on" and port.load is not None
        amperes = port.load.draw(self.now()) / 1_000 / volts if on and port.load is not None and volts else 0.0
        if port.state == "fault":
            amperes = 0.9
        pd_class = port.load.pd_class if on and port.load is not None else 0
        watts = _WATTS.get(pd_class, 15.5) if on else 0.0
        tail = "" if self.style == "interceptor" else " 0"
        return (
            f"{place[0]}-{place[1]}: {port.state} {pd_class} {watts:.2f} {volts if on else 0.0:.4f} "
            f"{amperes:.5f}/0.80000 33.1250/150.0000{tail}"
        )

    def obey(self, command: str) -> str:
        """Returns what it prints in answer."""
        self.commands.append(command)
        words = command.split()
        if words == ["info"]:
            return "version 3.4\nmodel cruiser\nversion 3.4\nserial 0001\n"
        if words == ["reset"]:
            for port in self.ports.values():
                port.state, port.due = "detecting", self.now() + 3
            return ""
        if len(words) == 3 and words[0] in ("enable-port", "disable-port", "reset-port"):
            port = self.ports.get((int(words[1]), int(words[2])), _Port())
            if words[0] == "disable-port":
                port.state = "disabled"
            else:
                port.state, port.due = "detecting", self.now() + 0.8
        return ""


class InProcessText:
    """`hw.poe.text_source.TextSource` onto a board, in simulated time. `cut` limits the next round to so many characters."""

    def __init__(self, board: ExavizBoard, *, sleep: Callable[[float], None]) -> None:
        self._board = board
        self._sleep = sleep
        self._waiting = ""
        self.cut: int | None = None
        self.mute = False

    def lines(self, limit: int, timeout_s: float) -> Iterator[str]:
        rounds = int(timeout_s)
        for _ in range(rounds):
            if self.mute:
                break
            self._sleep(1.0)
            text = self._waiting + self._board.text()
            self._waiting = ""
            if self.cut is not None:
                text, self.cut = text[: self.cut] + "\n", None
            for line in text.splitlines():
                if limit <= 0:
                    return
                limit -= 1
                yield line
        if self.mute:
            self._sleep(timeout_s)

    def send(self, command: str) -> None:
        self._waiting += self._board.obey(command)

    def close(self) -> None:
        """Nothing is open."""
