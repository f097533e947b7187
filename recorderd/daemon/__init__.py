"""The daemon's entry point: arguments, configuration, exit codes. `compose.py` builds the parts."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from recorderd import __version__
from recorderd.settings import Settings, SettingsError, load

EX_CONFIG = 78
DEFAULT_CONFIG = Path("/etc/recorderd/recorderd.toml")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="recorderd",
        description="Network video recorder daemon.",
        epilog="example:\n  recorderd --config /etc/recorderd/recorderd.toml --check-config",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--check-config", action="store_true", help="say what the configuration means and end")
    parser.add_argument("--version", action="version", version=f"recorderd {__version__}")
    arguments = parser.parse_args(argv)
    try:
        settings = load(arguments.config)
    except SettingsError as error:
        print(f"recorderd: {error}", file=sys.stderr)
        return EX_CONFIG
    from recorderd.daemon.compose import run  # the services are imported only when they are needed
    from recorderd.daemon.parts import look_up

    if not arguments.check_config:
        return asyncio.run(run(settings))
    try:
        look_up(settings)
    except SettingsError as error:
        print(f"recorderd: {arguments.config}: {error}", file=sys.stderr)
        return EX_CONFIG
    print(_in_words(arguments.config, settings))
    return 0


def _in_words(path: Path, settings: Settings) -> str:
    ram = settings.media_ram_bytes()
    streams = 16 * 4_000_000 / 8
    lines = [
        f"{path} is right.",
        f"  recorder  {settings.recorder.name}, board {settings.recorder.board}",
        f"  disk      {settings.disk.path}, medium {settings.disk.medium}, durability {settings.disk.durability}",
        f"  media RAM {ram >> 20} MiB: {ram / streams:.0f} s of 16 streams of 4 Mbit/s while a disk stalls",
        f"  network   {'managed by recorderd' if settings.network.manage else 'left alone'}",
    ]
    return "\n".join(lines)
