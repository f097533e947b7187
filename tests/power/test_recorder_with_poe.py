"""A whole recorder with the simulated eight-port switch, driven by `recorderctl`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.recorder import ROOT, Recorder


def _poe(recorder: Recorder) -> dict[str, dict[str, object]]:
    done = recorder.ctl("--json", "poe", "status")
    assert done.returncode == 0, done.stderr
    return {port["label"]: port for port in json.loads(done.stdout)["ports"]}


def _until(recorder: Recorder, label: str, state: str) -> None:
    deadline = time.monotonic() + 30
    while (now := _poe(recorder)[label]["state"]) != state:
        assert time.monotonic() < deadline, f"port {label} is {now}, not {state}"
        time.sleep(0.2)


def test_ports_are_seen_switched_and_remembered_by_the_command_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, board="sim-8port")
    with recorder:
        _until(recorder, "8", "delivering")
        table = recorder.ctl("poe", "status").stdout
        assert "PORT" in table and "W drawn" in table
        assert recorder.ctl("poe", "off", "2").returncode == 0
        _until(recorder, "2", "disabled")
        assert recorder.ctl("poe", "priority", "3", "critical").returncode == 0
        assert recorder.ctl("poe", "limit", "4", "25").returncode == 0
        wrong = recorder.ctl("poe", "on", "12")
        assert wrong.returncode == 1
        assert wrong.stderr.strip() == "recorderctl: no port '12'"
        assert "for the ports" in recorder.ctl("poe", "budget").stdout
        watch = [sys.executable, "-m", "recorderd.ctl.main", "--socket", str(recorder.socket), "--json", "poe", "watch"]
        with subprocess.Popen(watch, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            lines = [json.loads(watching.stdout.readline()) for _ in range(2)]
            watching.terminate()
        assert all(len(line["ports"]) == 8 for line in lines)
        check = recorder.ctl("board", "check")
        assert "Simulated PoE switch, 8 ports" in check.stdout
        assert "answers: TPS23861" in check.stdout
        assert "do not carry the worst case" in check.stdout
        hold = recorder.ctl("devices", "hold", "nobody", "--for", "30m")
        assert hold.stderr.strip() == "recorderctl: no device 'nobody'"
        assert recorder.ctl("devices", "create", "door").returncode == 0
        assert recorder.ctl("devices", "hold", "door", "--for", "30m").returncode == 0
        assert "door" in recorder.ctl("devices", "holds").stdout
    with recorder:
        _until(recorder, "2", "disabled")
        ports = _poe(recorder)
        assert ports["3"]["priority"] == "critical"
        assert ports["4"]["limit_mw"] == 25_000
        assert "door" in recorder.ctl("devices", "holds").stdout
        assert recorder.ctl("poe", "on", "2").returncode == 0
        _until(recorder, "2", "delivering")


def test_without_poe_the_answer_is_one_sentence(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        done = recorder.ctl("poe", "status")
        assert done.returncode == 1
        assert done.stderr.startswith("recorderctl: this recorder has no PoE")
        assert recorder.ctl("board", "check").returncode in (0, 1)
