"""`recorderctl completion SHELL`: a completion script made from the parsers themselves."""

from __future__ import annotations

import argparse
import sys

from recorderd.ctl.commands import COMMANDS
from recorderd.ctl.session import Session

_BASH = """\
# recorderctl completion for bash; source this file, or put it in /etc/bash_completion.d/
_recorderctl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} path=
    local index=1
    while [ $index -lt $COMP_CWORD ]; do
        case ${{COMP_WORDS[index]}} in
            -H|--host|--socket) index=$((index + 1)) ;;
            -*) ;;
            *) path="$path ${{COMP_WORDS[index]}}" ;;
        esac
        index=$((index + 1))
    done
    case "${{path# }}" in
{cases}
    esac
}}
complete -o default -F _recorderctl recorderctl
"""

_ZSH_HEAD = "# recorderctl completion for zsh\nautoload -U +X bashcompinit && bashcompinit\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.epilog = "example:\n  source <(recorderctl completion bash)"
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, _session: Session) -> int:
    script = bash_script()
    sys.stdout.write(_ZSH_HEAD + script if arguments.shell == "zsh" else script)
    return 0


def bash_script() -> str:
    """One `case` arm for each path of words; longer paths first, since a pattern also matches what follows it."""
    from recorderd.ctl.main import build_parser  # main imports the table of commands, not this module

    words: dict[str, list[str]] = {"": [*COMMANDS, "--host", "--socket", "--json", "--help"]}
    for word in COMMANDS:
        _collect(build_parser(word), word, words)
    arms = [
        f'        {_pattern(path)}) COMPREPLY=($(compgen -W "{" ".join(next_words)}" -- "$word")) ;;'
        for path, next_words in sorted(words.items(), key=lambda item: -item[0].count(" ") if item[0] else 1)
    ]
    return _BASH.format(cases="\n".join(arms))


def _pattern(path: str) -> str:
    return f'"{path}"|"{path} "*' if path else "*"


def _collect(parser: argparse.ArgumentParser, path: str, words: dict[str, list[str]]) -> None:
    here: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            here.extend(action.choices)
            for word, child in action.choices.items():
                _collect(child, f"{path} {word}", words)
        elif action.help is not argparse.SUPPRESS:
            here.extend(option for option in action.option_strings if option.startswith("--"))
            if not action.option_strings and action.choices is not None:
                here.extend(str(choice) for choice in action.choices)
    words[path] = here
