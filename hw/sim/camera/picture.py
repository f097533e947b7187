"""The moving picture that simulated cameras send: drifting bars and texture, a ball that goes round, and a line of digits on top."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hw.sim.camera import digits


class Scene:
    """Draws pictures of one size. `texture` (0 to 1) adds grain that makes the encoder spend bits, as a real lens does."""

    def __init__(self, *, width: int, height: int, texture: float = 0.0, seed: int = 1) -> None:
        if width % 4 or height % 4 or width < 64 or height < 48:
            raise ValueError(f"picture size {width}x{height}: both sides a multiple of 4, at least 64x48")
        self.width, self.height = width, height
        self.scale = max(1, width // 200)
        random = np.random.default_rng(seed)
        across, down = np.arange(2 * width), np.arange(height)
        bars = (
            110
            + 60 * np.sin(across * (6 * math.pi / width))[None, :]
            + 20 * np.cos(down * (4 * math.pi / height))[:, None]
        )
        grain = random.normal(0.0, 40.0 * texture, (height, 2 * width)) if texture else 0.0
        wide = np.clip(bars + grain, 30, 220)
        wide[:, width:] = wide[:, :width]  # the background wraps after one width
        self._background = wide.astype(np.uint8)
        hue = np.arange(width) * (4 * math.pi / width)
        self._blue = np.broadcast_to((128 + 40 * np.sin(hue)).astype(np.uint8), (height // 2, width))
        self._red = np.broadcast_to((128 + 40 * np.cos(hue)).astype(np.uint8), (height // 2, width))

    def draw(self, phase: float, text: str) -> NDArray[np.uint8]:
        """One picture as PyAV's planar yuv420p array (height * 3 / 2 rows). `phase` is the time in seconds, `text` digits only."""
        width, height = self.width, self.height
        shift = int(phase * 30) * 2 % width
        picture = np.empty((height * 3 // 2, width), dtype=np.uint8)
        luma = picture[:height]
        luma[:] = self._background[:, shift : shift + width]
        blue, red = picture[height : height + height // 4], picture[height + height // 4 :]
        blue.reshape(height // 2, width // 2)[:] = self._blue[:, shift // 2 : (shift + width) // 2]
        red.reshape(height // 2, width // 2)[:] = self._red[:, shift // 2 : (shift + width) // 2]
        side = height // 8
        left = int((width - side) * (0.5 + 0.45 * math.cos(phase * 1.3)))
        top = int((height - side) * (0.5 + 0.45 * math.sin(phase * 1.7)))
        luma[top : top + side, left : left + side] = 225
        if text:
            digits.draw(luma, text, self.scale * 2, self.scale * 2, self.scale)
        return picture

    def read(self, luma: NDArray[np.uint8], characters: int) -> str:
        """The text of that many characters that `draw` put into a picture, from its decoded luma plane."""
        return digits.read(luma, characters, self.scale * 2, self.scale * 2, self.scale)
