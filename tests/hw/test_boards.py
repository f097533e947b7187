"""Board files: those that ship, bad ones in one clear line, buses found on a made-up machine, the check and health."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hw.boards import health
from hw.boards.assembly import assemble
from hw.boards.board import Board, Bus, Health
from hw.boards.check import check_board, worst_case
from hw.boards.discovery import device_path, i2c_adapters, matches
from hw.boards.findings import Severity
from hw.boards.health import BoardReading, Level, look, symptoms
from hw.boards.loader import BadBoard, load, read, shipped
from hw.poe.errors import BusForbidden, BusMissing, BusOwned
from hw.poe.i2c import explain
from tests.hw.simulated_pace import SimulatedPace

BOARDS = {
    "exaviz-cruiser",
    "exaviz-interceptor",
    "generic-pd69200-i2c1",
    "generic-pd69200-uart",
    "generic-realtek-mcu",
    "generic-tps23861-i2c1",
    "kernel-pse",
    "sim-16port",
    "sim-4port",
    "sim-8port",
}


def test_every_shipped_board_loads_and_is_named_as_its_file() -> None:
    assert set(shipped()) >= BOARDS
    for name in shipped():
        board = load(name)
        assert board.name == name
        assert len(board.port) >= 4
        assert board.supply.total_w > 0
        assert board.title


@pytest.mark.parametrize("name", sorted(BOARDS - {"kernel-pse"}))
def test_every_shipped_board_works_when_its_bus_is_simulated(name: str) -> None:
    board = simulated(load(name))
    pace = SimulatedPace()
    assembly = assemble(board, pace=pace, inline=True)
    for placed in assembly.controllers:
        controller = placed.build()
        controller.open()
        pace.sleep(1)
        ports = [p.channel for p in board.port if p.pse == placed.id]
        reading = controller.read()
        assert set(ports) <= {p.channel for p in reading.ports}


def simulated(board: Board) -> Board:
    """The same board with every bus simulated."""
    return msgspec.structs.replace(
        board,
        pse=tuple(
            msgspec.structs.replace(p, bus=msgspec.structs.replace(p.bus, kind="simulated", name="", node="", path=""))
            for p in board.pse
        ),
    )


GOOD = """
name = "mine"
[[pse]]
id = "a"
driver = "tps23861"
bus = { kind = "i2c", number = 1, address = 0x20 }
[[port]]
label = "1"
pse = "a"
channel = 0
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("", "", None),
        ('name = "mine"', 'name = "Mine!"', "name = 'Mine!': lower case letters"),
        ('name = "mine"', 'name = "mine"\nnam = 1', "unknown field `nam`; did you mean name?"),
        ("address = 0x20", "adress = 0x20", "did you mean address?"),
        ("address = 0x20", "address = 0x2000", "pse[0].bus.address = 8192: a 7-bit address"),
        ("number = 1,", "", "one of name, node, number, path"),
        ('driver = "tps23861"', 'driver = "tps2386"', "pse[0].driver = 'tps2386': one of tps23861"),
        ('kind = "i2c"', 'kind = "spi"', "pse[0].bus.kind = 'spi': one of i2c"),
        ("channel = 0", "channel = 4", "port[0].channel = 4: 0 to 3"),
        ("channel = 0", 'channel = "0"', "Expected `int`, got `str` - at `$.port[0].channel`"),
        ('pse = "a"', 'pse = "b"', "port[0].pse = 'b': one of a"),
        ("channel = 0", 'channel = 0\npriority = "hi"', "port[0].priority = 'hi': one of critical, high, low"),
        ("channel = 0", "channel = 0\nmax_w = 900", "port[0].max_w = 900.0: above 0"),
        ("channel = 0", 'channel = 0\n[[port]]\nlabel = "1"\npse = "a"\nchannel = 1', "each label once"),
        ("channel = 0", 'channel = 0\n[[port]]\nlabel = "2"\npse = "a"\nchannel = 0', "each channel of a once"),
        ('[[pse]]\nid = "a"', '[[pse]]\nid = "a"\nshunt_mohm = 100', "shunt_mohm = 100: 250 or 255"),
        ('name = "mine"', "name = ", "Invalid value"),
        ('name = "mine"', 'name = "mine"\n[match]\ndt_model = "("', "match.dt_model"),
    ],
)
def test_bad_board_files_say_where_and_what(tmp_path: Path, old: str, new: str, says: str | None) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1) if old else GOOD)
    if says is None:
        assert read(path).name == "mine"
        return
    with pytest.raises(BadBoard) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


def test_files_that_are_none(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * 300_000)
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 5_000)
    for path, says in (
        (binary, "not UTF-8"),
        (huge, "at most"),
        (deep, "nested too deeply"),
        (tmp_path / "no.toml", "No such file"),
    ):
        with pytest.raises(BadBoard, match=says):
            load(str(path))
    with pytest.raises(BadBoard, match="did you mean sim-8port"):
        load("sim-8prt")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A tree with the parts of /sys and /proc that a Pi has."""
    for number, name in ((0, "bcm2835 (i2c@7e205000)"), (1, "bcm2835 (i2c@7e804000)")):
        node = tmp_path / f"sys/firmware/devicetree/base/soc/{name.partition('(')[2].rstrip(')')}"
        node.mkdir(parents=True)
        adapter = tmp_path / f"sys/class/i2c-dev/i2c-{number}"
        (adapter / "device").mkdir(parents=True)
        (adapter / "name").write_text(name + "\n")
        (adapter / "device/of_node").symlink_to(node)
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_text("Exaviz Cruiser Rev 1\0")
    (tree / "compatible").write_text("exaviz,cruiser\0brcm,bcm2712\0")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/pse").write_text("")
    return tmp_path


def test_buses_are_found_by_name_node_or_number(machine: Path) -> None:
    assert [a.number for a in i2c_adapters(machine)] == [0, 1]
    by = {"name": "bcm2835 (i2c@7e804000)", "node": "i2c@7e804000", "number": 1}
    for key, value in by.items():
        assert device_path(Bus(kind="i2c", address=0x20, **{key: value}), machine) == "/dev/i2c-1"
    with pytest.raises(BusMissing, match=r"no I2C bus at i2c@7e999000; there is /dev/i2c-0 \(bcm2835"):
        device_path(Bus(kind="i2c", node="i2c@7e999000", address=0x20), machine)
    with pytest.raises(BusMissing, match="i2c_arm=on"):
        device_path(Bus(kind="i2c", number=1, address=0x20), machine / "proc")
    with pytest.raises(BusMissing, match="/dev/ttyAMA9: not on this machine"):
        device_path(Bus(kind="serial", path="/dev/ttyAMA9"), machine)


def test_the_board_recognises_its_machine(machine: Path) -> None:
    assert matches(load("exaviz-cruiser"), machine)
    assert not matches(load("exaviz-interceptor"), machine)
    assert not matches(load("sim-8port"), machine)


def test_check_says_what_is_missing_owned_and_too_weak(machine: Path) -> None:
    board = load("generic-tps23861-i2c1")
    device = machine / "sys/bus/i2c/devices/1-0020"
    device.mkdir(parents=True)
    driver = machine / "sys/bus/i2c/drivers/tps23861"
    driver.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    found = check_board(board, root=machine)
    owned = next(f for f in found if f.subject == "pse0")
    assert owned.severity is Severity.ERROR
    assert "owned by the kernel driver tps23861" in owned.text
    assert "one owner" in owned.advice
    (device / "driver").unlink()
    found = check_board(board, controllers={"pse0": (False, "nothing answers")}, root=machine)
    texts = [(f.severity, f.text) for f in found if f.subject == "pse0"]
    assert texts[0][0] is Severity.GOOD
    assert texts[1] == (Severity.ERROR, "does not answer: nothing answers")
    missing = check_board(load("exaviz-interceptor"), root=machine)
    assert any(f.subject == "interceptor" and "/proc/pse: not on this machine" in f.text for f in missing)
    assert any(f.subject == "ports" and "poe0" in f.text and f.severity is Severity.WARNING for f in missing)
    assert any(f.subject == "board" and f.severity is Severity.WARNING for f in missing)


def test_the_worst_case_of_the_supply_is_said_in_words() -> None:
    board = load("sim-8port")
    weak = worst_case(board)[0]
    assert weak.severity is Severity.WARNING
    assert "240 W for 8 ports and 32 W for recorder and disks" in weak.text
    strong = msgspec.structs.replace(board, supply=msgspec.structs.replace(board.supply, total_w=300))
    assert worst_case(strong)[0].severity is Severity.GOOD
    assert any("nine tenths" in f.text for f in worst_case(board, drawn_mw=113_000))
    unknown = msgspec.structs.replace(board, supply=msgspec.structs.replace(board.supply, total_w=0))
    assert "set supply.total_w" in worst_case(unknown)[0].advice


def _sensors(root: Path, *, soc: int = 45_000, disk: int = 38_000, flags: str = "0x0") -> Health:
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "temp").write_text(f"{soc}\n")
    hwmon = root / "sys/class/hwmon/hwmon2"
    (hwmon / "device/block/sda").mkdir(parents=True, exist_ok=True)
    (hwmon / "name").write_text("drivetemp\n")
    (hwmon / "temp1_input").write_text(f"{disk}\n")
    fan = root / "sys/class/hwmon/hwmon3"
    fan.mkdir(exist_ok=True)
    (fan / "fan1_input").write_text("0\n" if flags == "fan" else "2400\n")
    (fan / "in0_lcrit_alarm").write_text("1\n" if flags == "volt" else "0\n")
    return Health(
        throttled="/sys/class/hwmon/*/in0_lcrit_alarm",
        fan="/sys/class/hwmon/*/fan1_input",
        fan_min_rpm=600,
        expects_rtc=True,
    )


def test_health_of_a_well_board(tmp_path: Path) -> None:
    sensors = _sensors(tmp_path)
    (tmp_path / "sys/class/rtc/rtc0").mkdir(parents=True)
    reading = look(sensors, root=tmp_path)
    assert reading == BoardReading(
        soc_c=45.0, under_voltage=False, throttled=None, fan_rpm=2400, disks_c=(("sda", 38.0),), rtc=True
    )
    assert symptoms(reading, sensors) == ()
    assert health.line(reading, ()) == "SoC 45 C, sda 38 C, fan 2400/min"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"soc": 82_000}, {"soc-temperature", "rtc"}),
        ({"disk": 58_000}, {"disk-temperature sda", "rtc"}),
        ({"flags": "fan"}, {"fan", "rtc"}),
        ({"flags": "volt"}, {"under-voltage", "rtc"}),
    ],
)
def test_each_symptom(tmp_path: Path, change: dict[str, object], names: set[str]) -> None:
    sensors = _sensors(tmp_path, **change)  # type: ignore[arg-type]
    found = symptoms(look(sensors, root=tmp_path), sensors)
    assert {s.name for s in found} == names
    assert all(s.text for s in found)


def test_a_temperature_is_well_again_only_below_its_hysteresis() -> None:
    sensors = Health()
    hot = symptoms(BoardReading(soc_c=91), sensors)
    assert hot[0].level is Level.CRITICAL
    assert symptoms(BoardReading(soc_c=87), sensors, hot)[0].level is Level.CRITICAL
    warm = symptoms(BoardReading(soc_c=84), sensors, hot)
    assert warm[0].level is Level.WARNING
    assert symptoms(BoardReading(soc_c=76), sensors, warm)
    assert not symptoms(BoardReading(soc_c=74), sensors, warm)


def test_a_named_sensor_that_is_not_there_is_reported(tmp_path: Path) -> None:
    reading = look(Health(fan="/sys/class/hwmon/*/fan7_input"), root=tmp_path)
    assert reading.soc_c is None
    assert any("fan7_input: not there" in text for text in reading.unreadable)
    (tmp_path / "sys/class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("hot")
    assert any("cannot be read" in text for text in look(Health(), root=tmp_path).unreadable)


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (16, BusOwned, "a kernel driver or another process owns it"),
        (13, BusForbidden, "no permission"),
        (2, BusMissing, "not on this"),
    ],
)
def test_the_kernels_errors_become_one_clear_line(code: int, error: type[Exception], says: str) -> None:
    made = explain(OSError(code, "x"), "/dev/i2c-1")
    assert isinstance(made, error)
    assert says in str(made)
    assert str(made).startswith("/dev/i2c-1: ")
