"""Our own nftables table, driven through `nft` with JSON on its standard input. No shell, nobody else's tables."""

from __future__ import annotations

import asyncio
import json
from typing import Any

FAMILY = "inet"
TABLE = "recorderd"
OUTPUT_MAX_BYTES = 1 << 20
TIMEOUT_S = 10.0
VOLATILE = {"handle", "packets", "bytes"}


class FilterFailed(Exception):
    """nft refused or is missing; one line."""


async def load(ruleset: str) -> None:
    """Replaces the table by `ruleset` (libnftables JSON, the objects to add) in one kernel transaction; empty removes it."""
    await _nft(replacement(ruleset), "-j", "-f", "-")


def replacement(ruleset: str) -> str:
    """JSON that puts `ruleset` in the place of the table, whether it exists or not."""
    table = {"table": {"family": FAMILY, "name": TABLE}}
    objects = json.loads(ruleset) if ruleset else []
    return json.dumps({"nftables": [{"add": table}, {"delete": table}, *({"add": entry} for entry in objects)]})


async def listing() -> str | None:
    """The table as nft lists it, without handles and counters, in a canonical form; None where there is none, or none to be seen: no
    nft, or no right to ask."""
    try:
        text = await _nft("", "-j", "list", "table", FAMILY, TABLE)
    except FileNotFoundError:
        return None
    except FilterFailed as error:
        if any(said in str(error) for said in ("No such file or directory", "Operation not permitted")):
            return None
        raise
    return canonical(json.loads(text)["nftables"])


def canonical(objects: list[Any]) -> str:
    """Two listings are equal if and only if the tables do the same."""
    kept = [entry for entry in objects if "metainfo" not in entry]
    return json.dumps(_without_volatile(kept), sort_keys=True)


def _without_volatile(value: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, dict):
        if isinstance(value.get("set"), list):  # the kernel returns a set in an order of its own
            return {"set": sorted(value["set"], key=lambda part: json.dumps(part, sort_keys=True))}
        return {key: _without_volatile(part) for key, part in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [_without_volatile(part) for part in value]
    return value


async def _nft(text: str, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "nft",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate(text.encode())
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise FilterFailed(f"nft did not answer within {TIMEOUT_S:.0f} s") from error
    if process.returncode != 0:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        raise FilterFailed((lines[0] if lines else f"nft ended with {process.returncode}")[:300])
    if len(out) > OUTPUT_MAX_BYTES:
        raise FilterFailed("nft answered more than 1 MiB")
    return out.decode("utf-8", "replace")
