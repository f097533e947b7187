"""`recorderctl bridge`: joins standard input and output to the control socket, so that ssh carries the protocol as it is."""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys

from recorderd.ctl.session import Failure, Session

_CHUNK_BYTES = 1 << 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  ssh admin@nvr recorderctl bridge"
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace, session: Session) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        try:
            peer.connect(session.socket_path)
        except OSError as error:
            raise Failure(f"cannot reach the recorder at {session.socket_path}: {error.strerror}", 2) from error
        _join(sys.stdin.fileno(), sys.stdout.fileno(), peer)
    return 0


def _join(read_fd: int, write_fd: int, peer: socket.socket) -> None:
    """Copies both ways, blocking, until the recorder closes or our reader has gone; an end of input is passed on."""
    poll = select.poll()
    poll.register(read_fd, select.POLLIN)
    poll.register(peer, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == read_fd:
                data = os.read(read_fd, _CHUNK_BYTES)
                if not data:
                    poll.unregister(read_fd)
                    peer.shutdown(socket.SHUT_WR)
                else:
                    peer.sendall(data)
            else:
                view = memoryview(peer.recv(_CHUNK_BYTES))
                if not view:
                    return
                while view:
                    view = view[os.write(write_fd, view) :]
