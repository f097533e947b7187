"""Numbers that survive a video encoder: drawn as a bitmap into a picture, and read back from the decoded picture.

Each glyph is 5x7 cells, a cell is `scale` x `scale` luma samples, white on black, so that both a person and `read` can tell what
was drawn even at low bit rates. No font file is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GLYPH_WIDTH, GLYPH_HEIGHT, ADVANCE = 5, 7, 6  # cells; one empty column between glyphs
BLACK, WHITE = 16, 235  # luma of ITU-R BT.601, limited range

_SHAPES = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11111 00010 00100 00010 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    ":": "00000 00100 00100 00000 00100 00100 00000",
    "-": "00000 00000 00000 11111 00000 00000 00000",
    ".": "00000 00000 00000 00000 00000 01100 01100",
    " ": "00000 00000 00000 00000 00000 00000 00000",
}
_CELLS: dict[str, NDArray[np.bool_]] = {
    char: np.array([[cell == "1" for cell in row] for row in rows.split()]) for char, rows in _SHAPES.items()
}


def size(characters: int, scale: int) -> tuple[int, int]:
    """(width, height) in samples of a text with its black border of one cell."""
    return (characters * ADVANCE + 1) * scale, (GLYPH_HEIGHT + 2) * scale


def draw(luma: NDArray[np.uint8], text: str, x: int, y: int, scale: int) -> None:
    """Draws `text` into a luma plane (rows, columns), its upper left corner at (x, y). Raises ValueError when it does not fit."""
    width, height = size(len(text), scale)
    if x < 0 or y < 0 or y + height > luma.shape[0] or x + width > luma.shape[1]:
        raise ValueError(f"{len(text)} characters at scale {scale} need {width}x{height} samples at ({x}, {y})")
    cells = np.zeros((GLYPH_HEIGHT + 2, len(text) * ADVANCE + 1), dtype=bool)
    for index, char in enumerate(text):
        left = 1 + index * ADVANCE
        cells[1 : 1 + GLYPH_HEIGHT, left : left + GLYPH_WIDTH] = _CELLS[char]
    luma[y : y + height, x : x + width] = np.where(np.kron(cells, np.ones((scale, scale), dtype=bool)), WHITE, BLACK)


def read(luma: NDArray[np.uint8], characters: int, x: int, y: int, scale: int) -> str:
    """Reads `characters` glyphs back from where `draw` put them. A glyph that differs in more than 4 of its 35 cells reads as '?'."""
    width, height = size(characters, scale)
    field = luma[y : y + height, x : x + width].astype(np.float64)
    cells = field.reshape(GLYPH_HEIGHT + 2, scale, characters * ADVANCE + 1, scale).mean(axis=(1, 3))
    lit = cells > (BLACK + WHITE) / 2
    text = []
    for index in range(characters):
        left = 1 + index * ADVANCE
        glyph = lit[1 : 1 + GLYPH_HEIGHT, left : left + GLYPH_WIDTH]
        best, wrong = min(((char, int((glyph != shape).sum())) for char, shape in _CELLS.items()), key=lambda m: m[1])
        text.append(best if wrong <= 4 else "?")
    return "".join(text)
