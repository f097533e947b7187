"""`recorderctl tracks`: see `recordings.py`."""

from recorderd.ctl.recordings import add_track_arguments as add_arguments

__all__ = ["add_arguments"]
