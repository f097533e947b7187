"""The Varlink server on the control socket, its access rules and the services' faces."""
