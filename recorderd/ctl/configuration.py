"""`recorderctl configuration`."""

from __future__ import annotations

import argparse

from recorderd.ctl.session import Session
from recorderd.protocol import configuration
from recorderd.protocol.message import Nothing
from recorderd.protocol.printable import printable

EXAMPLES = """A copy of the configuration, without passwords and keys, is kept on the data disk. When the system flash has failed and a
new one boots without a configuration, it can be put back.

examples:
  recorderctl configuration show
  recorderctl configuration restore"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("show", help="how much is configured, and what can be restored").set_defaults(run=run_show)
    restore = actions.add_parser("restore", help="put back the copy on the data disk, where there is no configuration")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.set_defaults(run=run_restore)


def run_show(_: argparse.Namespace, session: Session) -> int:
    state = session.call(configuration.GET_STATE, Nothing())

    def text() -> str:
        lines = [_spoken(state.content)]
        if state.problem:
            lines.append(f"cannot be changed: {printable(state.problem, 400)}")
        if state.mirror_problem:
            lines.append(f"the copy on the data disk is not up to date: {printable(state.mirror_problem, 400)}")
        if state.offered is not None:
            lines.append(f"on the data disk, of {state.offered_written}: {_spoken(state.offered)}")
            lines.append("put it back with recorderctl configuration restore")
        return "\n".join(lines)

    session.show(state, text)
    return 0


def run_restore(arguments: argparse.Namespace, session: Session) -> int:
    restored = session.call_confirmed(configuration.RESTORE, configuration.RestoreCall(), yes=arguments.yes)

    def text() -> str:
        lines = [f"restored: {_spoken(restored.content)}"]
        if restored.missing_secrets:
            lines.append(
                "to be entered anew (recorderctl devices set ID --user NAME, recorderctl storages set STORAGE --user NAME):"
            )
            lines += [f"  {printable(each, 200)}" for each in restored.missing_secrets]
        return "\n".join(lines)

    session.show(restored, text)
    return 0


def _spoken(content: configuration.Content) -> str:
    counted = [
        (content.devices, "devices"),
        (content.recordings, "recordings"),
        (content.jobs, "jobs"),
        (content.schedules, "schedules"),
    ]
    return ", ".join(f"{count} {word}" for count, word in counted)
