"""How long the recorder sets right what someone else keeps changing."""

from __future__ import annotations

REPAIRS_MAX, REPAIRS_IN_S, TRUCE_S = 5, 60.0, 600.0


class Patience:
    """After five repairs within a minute it is spent for ten minutes: whoever is at work there may know why."""

    def __init__(self) -> None:
        self._repairs: list[float] = []
        self._truce_until_s = 0.0

    def spent(self, now_s: float) -> str:
        """Counts one repair that is about to be made. Not empty: it is not to be made, and why, in one line."""
        if now_s >= self._truce_until_s:
            self._repairs = [at for at in self._repairs if now_s - at < REPAIRS_IN_S] + [now_s]
            if len(self._repairs) <= REPAIRS_MAX:
                return ""
            self._truce_until_s = now_s + TRUCE_S
            self._repairs.clear()
        return "someone else keeps changing the network: repairs are suspended for ten minutes"
