"""`recorderctl` as a person meets it: help, typing errors, no recorder, JSON, completion."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorderd.ctl.commands import COMMANDS
from recorderd.ctl.examples import EXAMPLES
from recorderd.ctl.main import build_parser
from recorderd.ctl.parser import finish


def _ctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recorderd.ctl.main", *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("word", sorted(COMMANDS))
def test_every_command_explains_itself(word: str) -> None:
    assert COMMANDS[word].summary[:20].lower() in build_parser(word).format_help().lower().replace("\n", " ")


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Those that do something: commands without actions, and actions."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for child in action.choices.values():
            yield from actions(child)


@pytest.mark.parametrize("word", sorted(COMMANDS))
def test_every_action_has_an_example_that_parses(word: str) -> None:
    command = build_parser(word)
    finish(command)
    for parser in actions(command):
        text = parser.format_help().replace("\\\n", " ")
        examples = [said for line in re.findall(r"^  (.*recorderctl .*)$", text, re.MULTILINE) for said in spoken(line)]
        assert examples, f"{parser.prog}: no example"
        for words in examples:
            build_parser(words[0]).parse_args(words[1:])


def spoken(line: str) -> Iterator[list[str]]:
    """The words of each recorderctl on a line of a shell, without -H and what explains them."""
    for part in re.split(r" && | \| |\s{3,}|[()]", line):
        words = shlex.split(part)
        if "recorderctl" in words:
            words = words[words.index("recorderctl") + 1 :]
            yield words[2:] if words[0] == "-H" else words


def test_examples_are_of_actions_that_there_are() -> None:
    known = {parser.prog for word in COMMANDS for parser in actions(build_parser(word))}
    assert {f"recorderctl {name}" for name in EXAMPLES} <= known


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["devices", "lst"], "unknown action 'lst' (did you mean 'list'?); there are list, show"),
        (["export", "door", "--outptu", "x"], "unknown option '--outptu' (did you mean '--output'?)"),
        (
            ["devices", "add", "rtsp://x/y", "--id", "z", "--recrod"],
            "unknown option '--recrod' (did you mean '--record'?)",
        ),
        (["export", "door", "extra", "-o", "x", "--from", "1"], "unrecognized arguments: extra"),
        (["export", "door"], "the following arguments are required: -o/--output, --from"),
        (["poe", "--nonsense"], "unknown option '--nonsense'"),
        (["devices", "show", "--jsn", "door"], "unknown option '--jsn' (did you mean '--json'?)"),
    ],
)
def test_what_is_not_understood_is_named_with_what_is_near(words: list[str], said: str) -> None:
    out = _ctl(*words)
    assert out.returncode == 64
    assert said in out.stderr


def test_json_may_stand_at_the_end(tmp_path: Path) -> None:
    for words in (["devices", "list", "--json"], ["--json", "devices", "list"], ["devices", "--json", "list"]):
        out = _ctl("--socket", str(tmp_path / "none"), *words)
        assert (out.returncode, "cannot reach" in out.stderr) == (2, True), out.stderr


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
