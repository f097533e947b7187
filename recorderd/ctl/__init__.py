"""`recorderctl`: a client of the control socket."""
