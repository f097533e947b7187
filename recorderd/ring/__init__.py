"""The disk ring: preallocated slot files, one flush per tick, recovery, spans and the timeline."""
