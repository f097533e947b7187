"""Strings from the network made harmless for terminals, logs and the status line (design: every string from outside is escaped)."""

from __future__ import annotations


def printable(text: str, limit: int = 100) -> str:
    """`text` with everything but printable characters and the space escaped, cut to `limit` characters with an ellipsis.

    What `str.isprintable` refuses covers C0 and C1, ESC, bidirectional and other format controls, surrogates and unassigned code points.
    """
    out: list[str] = []
    for character in text[: limit + 1]:
        if character.isprintable() and character != "\\":
            out.append(character)
        else:
            out.append(character.encode("unicode_escape", "surrogatepass").decode("ascii"))
    if len(text) > limit:
        return "".join(out[: limit - 1]) + "…"
    return "".join(out)
