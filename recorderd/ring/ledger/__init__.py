"""The ring's own durable tables as a pure state machine: no I/O, no clock read, nothing of the disk but slot numbers."""
