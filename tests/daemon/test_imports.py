"""What a recorder carries for as long as it lives: nothing that its configuration does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "av",
    "construct",
    "h11",
    "http",
    "hw.poe.i2c",
    "hw.sim",
    "pyroute2",
    "recorderd.workers",
    "serial",
    "smbus2",
    "unittest",
    "varlink",
    "websockets",
    "xml",
]
DRIVER = """
import json, sys
import recorderd.daemon.compose
from hw.boards.assembly import assemble
from hw.boards.loader import load
if len(sys.argv) > 2:
    assemble(load(sys.argv[2]), inline=True)
print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))
"""


def loaded(*board: str) -> set[str]:
    command = [sys.executable, "-c", DRIVER, json.dumps(HEAVY), *board]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout))


def test_a_recorder_without_a_board_carries_no_driver_and_no_library_of_a_rare_feature() -> None:
    assert loaded() == set()


@pytest.mark.parametrize(
    ("board", "more"),
    [
        ("generic-tps23861-i2c1", {"hw.poe.i2c", "smbus2"}),
        ("generic-pd69200-i2c1", {"hw.poe.i2c", "smbus2", "serial", "construct"}),
        ("kernel-pse", {"pyroute2", "unittest"}),
        ("sim-8port", {"hw.poe.i2c", "smbus2", "hw.sim"}),
    ],
)
def test_a_board_brings_its_own(board: str, more: set[str]) -> None:
    assert loaded(board) == more
