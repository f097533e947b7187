"""What chronyd knows, through `chronyc -c` (its documented CSV), and what it may do, as directives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from recorderd.network.trust import STEP_MAX_S, Mode

TIMEOUT_S = 5.0
OUTPUT_MAX_BYTES = 64 * 1024


class ChronyFailed(Exception):
    """chronyd does not answer; one line."""


@dataclass(frozen=True, slots=True)
class Source:
    """One server. `offset_s` is what it would add to our clock (chronyc prints the opposite sign)."""

    name: str
    state: str  # * selected, + combined, - not combined, ? unreachable, x false ticker, ~ too variable
    stratum: int
    reachable: bool
    offset_s: float
    error_s: float


def sources(text: str) -> tuple[Source, ...]:
    """From `chronyc -c -n sources`: mode,state,name,stratum,poll,reach,last,adjusted,measured,error. Odd lines are skipped."""
    found = []
    for line in text.splitlines()[:64]:
        words = line.split(",")
        if len(words) < 10 or words[0] != "^":
            continue
        try:
            found.append(
                Source(words[2][:64], words[1], int(words[3]), int(words[5], 8) != 0, -float(words[7]), float(words[9]))
            )
        except ValueError:
            continue
    return tuple(found)


def synchronised(text: str) -> bool:
    """From `chronyc -c -n tracking`: the last field is the leap status; the reference of a clock that serves itself is 127.127.1.1."""
    words = text.strip().split(",")
    return len(words) >= 14 and words[-1] != "Not synchronised" and not words[0].startswith("7F7F")


def best(found: tuple[Source, ...]) -> Source | None:
    """The source chronyd selected; None while there is none that it believes."""
    return next((source for source in found if source.state == "*"), None)


def directives(mode: Mode, configured: tuple[str, ...], leased: tuple[str, ...]) -> str:
    """The part that the time owner writes. Configured servers are preferred to those that DHCP gave."""
    lines = [f"server {server} iburst prefer" for server in configured]
    lines += [f"server {server} iburst" for server in leased if server not in configured]
    if mode is Mode.HOLD:
        lines.append("maxchange 1 0 -1")  # from the first update on, never give up: larger corrections are ignored
    elif mode is Mode.STEP:
        lines += ["makestep 1 3", f"maxchange {STEP_MAX_S:.0f} 0 -1"]
    else:
        lines += ["makestep 1 3", "maxchange 1e10 0 -1"]
    return "".join(f"{line}\n" for line in lines)


async def ask(what: str) -> str:
    """`chronyc -c -n WHAT` over chronyd's local port, which answers anyone on this machine. Raises ChronyFailed."""
    try:
        process = await asyncio.create_subprocess_exec(
            "chronyc",
            "-h",
            "127.0.0.1",
            "-c",
            "-n",
            what,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise ChronyFailed("chronyc is missing") from error
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise ChronyFailed("chronyd does not answer") from error
    if process.returncode != 0:
        raise ChronyFailed("chronyd does not run")
    return out[:OUTPUT_MAX_BYTES].decode("utf-8", "replace")
