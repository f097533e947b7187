"""Files that the ring makes with itself for others to fill: after format none is created, removed or extended on its disk (I6)."""

from __future__ import annotations

from typing import Final

CONFIGURATIONS: Final = ("configuration.a", "configuration.b")  # `recorderd.state.mirror`'s, written in turn
CONFIGURATION_BYTES: Final = 1 << 20  # of each; a configuration is compressed
