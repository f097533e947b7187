"""`make run` as a person meets it: what it says, what it does when a part dies, and that nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorderd import demo
from tests.daemon.test_secrets import simulated_camera
from tests.recorder import ROOT, until

pytestmark = pytest.mark.host
AGAIN = "import os, sys; os.execv(sys.argv[1], [sys.argv[1], '-c', 'import recorderd.daemon'])"


@contextmanager
def make_run(folder: Path, *, via: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`via`: the command that runs it as somebody else."""
    said = folder / "said"
    with said.open("ab") as out:
        process = subprocess.Popen(
            [*via, sys.executable, "-m", "recorderd.demo"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out, text=True,
        )  # fmt: skip
    try:
        yield process, said
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30)


def ctl(folder: Path, *words: str, via: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*via, sys.executable, "-m", "recorderd.ctl.main", "--socket", "var/control", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def recording(folder: Path) -> bool:
    done = ctl(folder, "--json", "status")
    return done.returncode == 0 and json.loads(done.stdout)["verdict"].startswith("RECORDING 2/2")


def processes_in(folder: Path) -> list[int]:
    """Of the demo: those that work in its folder."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if one.joinpath("cwd").readlink() == folder and b"-m\0" in one.joinpath("cmdline").read_bytes():
                found.append(int(one.name))
        except OSError:  # it ended, or is not ours to look at
            continue
    return found


def pid_of(folder: Path, module: str) -> int:
    (pid,) = [
        pid for pid in processes_in(folder)
        if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]  # fmt: skip
    return pid


def test_it_records_survives_a_crash_and_ends_cleanly(tmp_path: Path) -> None:
    with make_run(tmp_path) as (process, said):
        until(lambda: "Two simulated cameras are being recorded" in said.read_text())
        until(lambda: recording(tmp_path))
        until(lambda: "8/8 ports" in ctl(tmp_path, "status").stdout)
        killed = pid_of(tmp_path, "recorderd")
        os.kill(killed, signal.SIGKILL)
        until(lambda: "recorderd was ended by SIGKILL; started again, as systemd would." in said.read_text())
        assert pid_of(tmp_path, "recorderd") != killed
        until(lambda: recording(tmp_path))
        os.kill(pid_of(tmp_path, "hw.sim.camera"), signal.SIGKILL)
        until(lambda: "the camera simulator was ended by SIGKILL; started again" in said.read_text())
        until(lambda: recording(tmp_path))
        assert "recorder crash" in ctl(tmp_path, "timeline", "door", "--from", "5 min ago").stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert processes_in(tmp_path) == []
    away = ctl(tmp_path, "status")
    assert away.returncode == 2
    assert f"disk: {tmp_path}/var/ring was last written" in away.stdout
    with make_run(tmp_path) as (_, said):
        until(lambda: recording(tmp_path))
        assert said.read_text().count("Making a ring") == 1, "a second start finds the earlier recordings"
        assert "recorder off" in ctl(tmp_path, "timeline", "door", "--from", "5 min ago").stdout
    assert processes_in(tmp_path) == []


def test_ports_that_somebody_else_takes_meanwhile_are_chosen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("var").mkdir()
    free = demo._free_pairs()
    taken, other = next(free), next(free)
    parts: list[demo.Part] = []
    with socket.create_server(("127.0.0.1", taken)):
        monkeypatch.setattr(demo, "_free_pairs", lambda: iter([taken, other]))
        try:
            urls = demo._begin_cameras(parts)
            assert urls["door"].startswith(f"rtsp://127.0.0.1:{other}/")
            assert len(parts) == 1
            assert Path("var/camera-port").read_text() == str(other)
        finally:
            demo._end([part.process for part in parts])
        Path("var/camera-port").write_text(str(taken))  # of an earlier run
        with pytest.raises(demo.CannotGoOn, match=r"(?s)var/camera-port holds their port.*already in use"):
            demo._begin_cameras(parts)
        assert Path("var/camera-port").read_text() == str(taken)
    assert len(parts) == 1
    assert parts[0].process.poll() is not None


def as_nobody() -> list[str]:
    """The command that runs another one as a user without any right; empty where the tests are run by one.

    Where the interpreter or this project lies in a folder of root's own, that user may look into folders that are not his, and write
    nowhere else all the same.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is absent, and the tests are run by root")
    looking = "+dac_read_search"
    nobody = pwd.getpwnam("nobody")
    who = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs"]
    plain = ["setpriv", *who, "--bounding-set=-all"]
    may_look = ["setpriv", *who, f"--bounding-set=-all,{looking}", f"--inh-caps={looking}", f"--ambient-caps={looking}"]
    for via in (plain, may_look):
        words = [*via, sys.executable, "-c", AGAIN, sys.executable]  # the first is still executed with root's rights
        if subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0:
            return via
    pytest.skip("no user but root can run this interpreter here")


def test_whoever_runs_it_needs_no_right_but_to_the_folder() -> None:
    """A user who is not root: it records, answers him, exports, and leaves only what is his."""
    via = as_nobody()
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        folder = Path(name)
        user = pwd.getpwnam("nobody") if via else pwd.getpwuid(os.getuid())
        os.chown(folder, user.pw_uid, user.pw_gid)
        with make_run(folder, via=via) as (process, said):
            try:
                until(lambda: "Two simulated cameras are being recorded" in said.read_text())
                until(lambda: recording(folder))
            except AssertionError:
                pytest.fail(f"{said.read_text()}\n{(folder / 'var/log').read_text()}")
            for pid in processes_in(folder):
                status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                assert set(status["Uid"].split()) == {str(user.pw_uid)}
            assert "RECORDING 2/2" in ctl(folder, "status", via=via).stdout
            exported = ctl(folder, "export", "door", "--from", "1 min ago", "--to", "now", "-o", "door.mp4", via=via)
            assert exported.returncode == 0, exported.stderr
            assert (folder / "door.mp4").stat().st_size > 10_000
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert processes_in(folder) == []
        said.unlink()  # the test's own
        assert {path.lstat().st_uid for path in folder.rglob("*")} == {user.pw_uid}
        assert sorted(path.name for path in folder.iterdir()) == ["door.mp4", "var"]


def test_what_cannot_live_is_given_up_with_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "LOG", tmp_path / "log")
    (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(30)) + "the disk is on fire \x1b[2J\n")
    started: list[subprocess.Popen[bytes]] = []

    def start(code: int) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]))
        return started[-1]

    part = demo.Part("recorderd", lambda: start(1))
    for _ in range(demo.MAX_QUICK - 1):
        started[-1].wait()
        assert part.look() == "recorderd ended with exit code 1; started again, as systemd would."
    started[-1].wait()
    with pytest.raises(
        demo.CannotGoOn, match=r"(?s)exit code 1; it is not started again.*line 29\n  the disk is on fire \\x1b"
    ) as given_up:
        part.look()
    assert "line 20\n" not in str(given_up.value)
    broken = demo.Part("recorderd", lambda: start(78))
    started[-1].wait()
    with pytest.raises(demo.CannotGoOn, match="exit code 78"):
        broken.look()
    assert len(started) == demo.MAX_QUICK + 1


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory that refuses direct writes")
def test_a_camera_of_ones_own_and_a_file_system_that_the_ring_refuses() -> None:
    """At a terminal: it asks for user and password, which are shown nowhere, and says what it thinks of the file system."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as name,
        simulated_camera("--user", "eve", "--password", "open sesame") as (url, _),
    ):
        folder = Path(name)
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(folder)
            os.environ["PYTHONPATH"] = str(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "recorderd.demo", "--camera", url])
        said = ""
        try:
            for question, answer in (("User name for", "eve\n"), ("Password:", "open sesame\n")):
                while question not in said:
                    said += os.read(terminal, 4096).decode()
                os.write(terminal, answer.encode())
            while "What recorderd has to say" not in said:
                said += os.read(terminal, 4096).decode()
            reader = threading.Thread(target=_drain, args=(terminal,), daemon=True)
            reader.start()
            until(lambda: "RECORDING 3/3" in ctl(folder, "status").stdout)
            status = ctl(folder, "status").stdout
            assert "NOT DURABLE: a power cut loses data (durability = none)" in status
            assert "So durability is set to none" in said
            assert "sesame" not in said
            assert "sesame" not in status + (folder / "var/log").read_text()
        finally:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            os.close(terminal)
        assert processes_in(folder) == []


def _drain(terminal: int) -> None:
    with contextlib.suppress(OSError):  # EIO when the other side has gone
        while os.read(terminal, 4096):
            pass
