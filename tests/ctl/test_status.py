"""The status screen: fits 80 columns and 24 rows, worst first, harmless whatever a camera is called."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from recorderd.ctl.status import render
from recorderd.ctl.why import render as render_why
from recorderd.ctl.without_daemon import describe
from recorderd.daemon.systemd import leave_word
from recorderd.protocol import system
from recorderd.protocol.client import DEFAULT_SOCKET


def _camera(name: str, state: system.CameraState = "recording") -> system.Camera:
    return system.Camera(
        device="d",
        name=name,
        recording="r",
        due=True,
        state=state,
        cause=None,
        detail="",
        since=None,
        durable_age_ms=800,
        codec="h264",
        width=1920,
        height=1080,
        frame_rate=29.97,
        asked_frame_rate=30.0,
        bit_rate=4_123_000,
        coverage_hour=1.0,
        coverage_day=0.9999,
        loss_bound_ms=2100,
        prebuffer_ms=4000,
        lost_packets=0,
        port="3",
    )


def _status(
    cameras: list[system.Camera], problems: list[system.Problem] | None = None, *, durable: bool = True
) -> system.Status:
    return system.Status(
        name="shop",
        version="0.1.0",
        verdict=f"RECORDING {sum(c.state == 'recording' for c in cameras)}/{len(cameras)}",
        well=not problems,
        problems=problems or [],
        cameras=cameras,
        disk=system.Disk(
            state="recording",
            detail="",
            path="/srv/recorderd",
            medium="hdd",
            durable=durable,
            size_bytes=2 << 40,
            slots=30_000,
            free_slots=0,
            locked_bytes=5 << 30,
            oldest=None,
            reach_ms=20 * 86_400_000,
            forecast_ms=31 * 86_400_000,
            required_ms=30 * 86_400_000,
            commit_age_ms=400,
            slowest_commit_ms=30.0,
            bytes_per_day=1 << 36,
        ),
        clock=system.Clock(now="2026-11-22T14:30:00.000000Z", zone="Europe/Berlin", utc_offset_s=3600, trust="ntp"),
        poe=system.Poe(
            board="sim8",
            state="good",
            summary="PoE 2/8 ports, 12.3 W of 60 W",
            budget_mw=60_000,
            used_mw=12_300,
            ports_on=2,
            ports=8,
        ),
        board="SoC 61 C, fan 2100/min",
        process=system.Process(
            uptime_ms=7_300_000,
            media_ram_bytes=12 << 20,
            media_ram_limit_bytes=512 << 20,
            stall_s=67.0,
            late_p99_ms=3.0,
            overruns=0,
        ),
    )


@pytest.mark.parametrize("count", [0, 1, 8, 64])
def test_fits_a_small_terminal(count: int) -> None:
    problems = [system.Problem(severity="error", subject=f"c{i}", text="x" * 300, since=None) for i in range(count)]
    screen = render(_status([_camera(f"camera {i}", "failing") for i in range(count)], problems), rows=24)
    lines = screen.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith(f"RECORDING 0/{count}")


def test_a_camera_s_row_is_whole_on_a_small_terminal() -> None:
    lines = render(_status([_camera("door"), _camera("yard")]), rows=24).splitlines()
    assert "door    recording    0.8 s  4.1 Mbit/s  30/30  100%  99%  2.1 s  3" in lines
    assert lines[lines.index(next(line for line in lines if line.startswith("door"))) + 1].startswith(
        "yard    recording"
    )


def test_the_worst_camera_comes_first_and_none_is_hidden_without_a_terminal() -> None:
    cameras = [_camera(f"good {i}") for i in range(40)] + [_camera("broken", "failing")]
    lines = render(_status(cameras)).splitlines()
    rows = lines[lines.index(next(line for line in lines if line.startswith("CAMERA"))) + 1 :]
    assert rows[0].startswith("broken")
    assert sum(line.startswith("good") for line in rows) == 40


def test_a_camera_s_name_cannot_move_the_cursor() -> None:
    screen = render(_status([_camera("\x1b[2J\x1b]0;owned\x07\u202edoor")]))
    assert "\x1b" not in screen
    assert "\u202e" not in screen
    assert "\\x1b[2J" in screen


def test_almost_all_is_not_all_and_no_durability_is_said() -> None:
    screen = render(_status([_camera("door")], durable=False))
    assert " 100%  99%" in screen
    assert "NOT DURABLE" in screen
    assert "reaches 20 d back of 31 d when full, 30 d required, 5.0 GiB locked" in screen


def test_what_power_and_the_boards_sensors_say_is_on_the_screen() -> None:
    status = _status([_camera("door")])
    lines = render(status, rows=24).splitlines()
    assert "power  sim8: PoE 2/8 ports, 12.3 W of 60 W" in lines
    assert "board  SoC 61 C, fan 2100/min" in lines
    assert "board" not in render(replace(status, board=None, poe=None))


def test_why_stops_at_the_first_broken_link() -> None:
    links = [
        system.Link(name="power", state="good", detail="port 3 delivers 5.1 W"),
        system.Link(name="rtsp", state="bad", detail="401 Unauthorized", since="2026-11-22T14:00:00.000000Z"),
        system.Link(name="frames", state="bad", detail="none"),
    ]
    text = render_why(
        system.Explanation(
            camera="door",
            links=links,
            broken="rtsp",
            recorder_does="tries again in 8 s",
            person_can="check the password",
        )
    )
    assert "door: broken at rtsp." in text
    assert "frames" not in text
    assert text.endswith("you:       check the password")


def test_without_a_daemon_the_disk_still_answers(tmp_path: Path) -> None:
    (tmp_path / "slots" / "000").mkdir(parents=True)
    (tmp_path / "slots" / "000" / "000000.mp4").write_bytes(b"x")
    socket = str(tmp_path / "control")
    assert "disk: not known" in describe(socket)
    for ring in (tmp_path / "elsewhere", tmp_path):
        leave_word(Path(socket), ring)
        said = describe(socket)
        assert "systemd" not in said, "it knows of the service's socket only"
        assert (f"{ring} was last written 0." if ring == tmp_path else f"no ring at {ring}") in said
    assert "systemd: " in describe(DEFAULT_SOCKET)


def test_json_is_the_whole_status() -> None:
    status = _status([_camera("door")])
    assert msgspec.json.decode(msgspec.json.encode(status), type=system.Status) == status
