"""The vocabulary as types: what recordings, streams, runs and timelines are. Pure: no I/O, no clocks read, imports nothing else here."""
