"""The device-tree overlays: dtc compiles them without a word, and fdtoverlay lays them over a tree with the &i2c1 every board has."""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from hw.boards.loader import load, shipped

pytestmark = pytest.mark.skipif(not shutil.which("fdtoverlay"), reason="device-tree-compiler is absent")

OVERLAYS = Path(str(resources.files("hw") / "overlays"))
SOURCES = sorted(OVERLAYS.glob("*.dts"))
FIRMWARE = {"uart2", "cruiser-raspberrypi-cm5"}
"""What the Raspberry Pi firmware and the carrier's vendor bring themselves."""

BOARD = """
/dts-v1/;
/ {
    compatible = "brcm,bcm2835";
    soc {
        i2c1: i2c@7e804000 {
            compatible = "brcm,bcm2835-i2c";
            status = "disabled";
            clock-frequency = <400000>;
        };
    };
};
"""


def compiled(source: Path, made: Path) -> Path:
    run("dtc", "-@", "-I", "dts", "-O", "dtb", "-o", str(made), str(source))
    return made


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.strip()


@pytest.fixture
def board(tmp_path: Path) -> Path:
    source = tmp_path / "board.dts"
    source.write_text(BOARD)
    # A stand-in for the SoC's tree: its nodes lack what dtc would like to see of a real one.
    run("dtc", "-q", "-@", "-I", "dts", "-O", "dtb", "-o", str(tmp_path / "board.dtb"), str(source))
    return tmp_path / "board.dtb"


def test_every_overlay_that_a_board_names_is_here_or_comes_with_the_firmware() -> None:
    named = {overlay for name in shipped() for overlay in load(name).overlays}
    assert named - FIRMWARE <= {source.stem for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_an_overlay_enables_the_bus(source: Path, board: Path, tmp_path: Path) -> None:
    overlaid = tmp_path / "overlaid.dtb"
    run("fdtoverlay", "-i", str(board), "-o", str(overlaid), str(compiled(source, tmp_path / "overlay.dtbo")))
    assert run("fdtget", str(overlaid), "/soc/i2c@7e804000", "status") == "okay"
    if source.stem == "recorderd-i2c1-100k":
        assert run("fdtget", str(overlaid), "/soc/i2c@7e804000", "clock-frequency") == "100000"
    else:
        chip = "/soc/i2c@7e804000/tps23861@20"
        assert run("fdtget", str(overlaid), chip, "compatible") == "ti,tps23861"
        assert run("fdtget", str(overlaid), chip, "shunt-resistor-micro-ohms") == "255000"
