"""What every command of `recorderctl` needs: the connection, the way of output, and questions to the person."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

import msgspec

from recorderd.protocol.client import Client, ConnectionLost
from recorderd.protocol.errors import ConfirmationNeeded
from recorderd.protocol.interface import Method

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


class Failure(Exception):
    """Ends the command with one line on standard error."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Session:
    """One run of `recorderctl`. The connection is made when it is first needed."""

    def __init__(self, *, socket_path: str, host: str | None, json: bool, color: bool) -> None:
        self.socket_path = socket_path
        self.host = host
        self.json = json
        self.color = color
        self._client: Client | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    @property
    def client(self) -> Client:
        """Raises `ConnectionLost` with a sentence that says what to do."""
        if self._client is None:
            if self.host is not None:
                from recorderd.ctl.ssh import connect  # only with -H: start-up counts

                self._client = connect(self.host)
            else:
                try:
                    self._client = Client.connect(self.socket_path)
                except OSError as error:
                    raise ConnectionLost(
                        f"cannot reach the recorder at {self.socket_path}: {error.strerror}; is recorderd running?"
                    ) from error
        return self._client

    def call(self, method: Method[P, R], parameters: P) -> R:
        return self.client.call(method, parameters)

    def pages(self, method: Method[P, R], parameters: P, following: Callable[[R], str | None]) -> Iterator[R]:
        """The replies to a call that answers in pages; `following` finds what the next one comes `after`, None in the last."""
        while True:
            reply = self.call(method, parameters)
            yield reply
            if (after := following(reply)) is None:
                return
            parameters = msgspec.structs.replace(parameters, after=after)

    def call_confirmed(self, method: Method[P, R], parameters: P, *, yes: bool) -> R:
        """A call whose parameters have a `confirm: bool` field: asks the person what the recorder wants confirmed."""
        if yes:
            return self.call(method, msgspec.structs.replace(parameters, confirm=True))
        try:
            return self.call(method, parameters)
        except ConfirmationNeeded as needed:
            if not self.ask(f"{needed.consequence}\nGo on?"):
                raise Failure("nothing was changed") from needed
            return self.call(method, msgspec.structs.replace(parameters, confirm=True))

    def show(self, value: msgspec.Struct, text: Callable[[], str]) -> None:
        """Prints `value` as JSON with `--json`, else what `text` returns."""
        if self.json:
            sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        else:
            out = text()
            sys.stdout.write(out if not out or out.endswith("\n") else out + "\n")
        sys.stdout.flush()

    def ask(self, question: str) -> bool:
        """Yes or no from the terminal; no where there is none."""
        if not sys.stdin.isatty():
            raise Failure(f"{question.splitlines()[0]} (no terminal to ask on; confirm with --yes)")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def secret(self, prompt: str, *, from_stdin: bool) -> str:
        """A password from a prompt that does not echo, or one line of standard input."""
        if from_stdin:
            return sys.stdin.readline().rstrip("\r\n")
        if not sys.stdin.isatty():
            raise Failure(f"{prompt}: no terminal to ask on; use --password-stdin")
        import getpass  # only on this path: start-up counts

        return getpass.getpass(f"{prompt}: ")


def terminal_width(default: int = 80) -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return default
