"""What holds for every test."""

from __future__ import annotations

import compileall
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONG = (
    "network",
    "daemon",
    "systemd",
    "e2e",
)  # with several lanes the longest begin first, so that none is alone at the end
ONE_LANE = ("network",)  # of what only one may be under way: the kernel's neighbour table is one for all namespaces


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background of a shell is told to ignore SIGINT, and so would be the programs that tests start and end with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests start hundreds of daemons, workers and command lines. Where PYTHONDONTWRITEBYTECODE is set, each would compile its modules
    # anew, which takes longer than all else it does. A tree that cannot be written to is no error.
    if not hasattr(config, "workerinput"):
        for folder in ("recorderd", "hw"):
            compileall.compile_dir(ROOT / folder, quiet=2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lanes (`-n 2 --dist loadgroup`): a file stays in one, so that it shares its fixtures and its tests keep their order."""
    if not config.pluginmanager.hasplugin("xdist"):
        return

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(ROOT / "tests").parts[0]

    items.sort(key=lambda item: LONG.index(folder(item)) if folder(item) in LONG else len(LONG))
    for item in items:
        where = folder(item) if folder(item) in ONE_LANE else str(item.path.relative_to(ROOT))
        item.add_marker(pytest.mark.xdist_group(where))
