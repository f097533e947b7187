"""Checks the ring's invariants on a live or an unmounted ring, says in words what it found, and repairs what can be repaired."""
