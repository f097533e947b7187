"""The control protocol: Varlink IDL files, message structs, framing, typed errors and the client.

Pure except for the client's socket.
"""
