"""`recorderctl` as a person meets it: help, typing errors, no recorder, JSON, completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recorderd.ctl.commands import COMMANDS
from recorderd.ctl.main import build_parser


def _ctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recorderd.ctl.main", *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("word", sorted(COMMANDS))
def test_every_command_explains_itself(word: str) -> None:
    assert COMMANDS[word].summary[:20].lower() in build_parser(word).format_help().lower().replace("\n", " ")


def test_help_lists_every_command() -> None:
    out = _ctl("--help")
    assert out.returncode == 0
    assert all(f"  {word} " in out.stdout for word in COMMANDS)


def test_a_typing_error_is_answered_with_the_nearest_word() -> None:
    out = _ctl("verion")
    assert out.returncode == 64
    assert "did you mean 'version'?" in out.stderr


def test_no_recorder_is_one_line_and_exit_2_where_it_matters(tmp_path: Path) -> None:
    out = _ctl("--socket", str(tmp_path / "none"), "bridge")
    assert out.returncode == 2
    assert out.stderr.count("\n") == 1
    assert "No such file" in out.stderr
    versions = _ctl("version", "--json", "--socket", str(tmp_path / "none"))
    assert json.loads(versions.stdout)["recorderd"] is None


def test_completion_is_valid_bash_and_knows_the_words() -> None:
    script = _ctl("completion", "bash").stdout
    check = f'{script}\nCOMP_WORDS=(recorderctl ver); COMP_CWORD=1; _recorderctl; echo "${{COMPREPLY[@]}}"'
    out = subprocess.run(["bash", "-c", check], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout.strip() == "version"


def test_starts_without_the_heavy_packages() -> None:
    code = "import sys, recorderd.ctl.main; print([m for m in ('asyncio','numpy','av','varlink','rich') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"
