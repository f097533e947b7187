"""Logs for the operator: one line per record on standard error, made printable, with the priority that the journal understands."""

from __future__ import annotations

import logging
import os
import sys

from recorderd.protocol.printable import printable
from recorderd.settings import LogLevel

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
MAX_LINE = 2000


class LineFormatter(logging.Formatter):
    """Text from outside cannot move the cursor, forge a line or flood the log. Tracebacks keep their lines."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._journal = journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's name
        record.message = printable(record.message, MAX_LINE)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in text.split("\n"))


def set_up(level: LogLevel) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
