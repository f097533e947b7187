"""Which login a process belongs to, on process trees as proc(5) shows them."""

from __future__ import annotations

import os
from pathlib import Path

from recorderd.network.login import Login, login_of

TICKS = os.sysconf("SC_CLK_TCK")


def tree(folder: Path, *processes: tuple[int, str, int, int]) -> Path:
    """(pid, name, parent, start in seconds since boot)"""
    for pid, name, parent, began_s in processes:
        (folder / str(pid)).mkdir()
        tail = " ".join(["0"] * 17)
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {tail} {began_s * TICKS} 0 0\n")
    return folder


LISTENER = (700, "sshd", 1, 5)


def test_ssh(tmp_path: Path) -> None:
    proc = tree(
        tmp_path,
        LISTENER,
        (800, "sshd", 700, 100),
        (801, "sshd", 800, 101),
        (802, "bash", 801, 102),
        (803, "python3", 802, 500),
    )
    assert login_of(803, proc) == Login(101.0)


def test_ssh_as_root_has_one_process_less(tmp_path: Path) -> None:
    proc = tree(tmp_path, LISTENER, (800, "sshd-session", 700, 100), (803, "python3", 800, 500))
    assert login_of(803, proc) == Login(100.0)


def test_tmux_is_as_old_as_its_server(tmp_path: Path) -> None:
    proc = tree(tmp_path, (900, "tmux: server", 1, 50), (901, "a) b (c", 900, 400), (902, "python3", 901, 500))
    assert login_of(902, proc) == Login(50.0)


def test_console(tmp_path: Path) -> None:
    proc = tree(tmp_path, (600, "login", 1, 9), (601, "bash", 600, 10), (602, "python3", 601, 500))
    assert login_of(602, proc) == Login(9.0, console=True)


def test_gone(tmp_path: Path) -> None:
    assert login_of(5, tmp_path) is None
    (tmp_path / "6").mkdir()
    (tmp_path / "6/stat").write_text("nonsense (")
    assert login_of(6, tmp_path) is None


def test_this_process() -> None:
    login = login_of(os.getpid())
    assert login is not None
    assert login.began_s > 0
