"""Camera sessions: sockets, the sweep, reconnection and the pre-buffers."""
