"""Plays streams and throws every byte away in the kernel: what it costs the cameras to be played, without a recorder.

Run as `python -m tests.bench.drain URL...`. Reads all sockets each 50 ms with MSG_TRUNC, which drops data without copying it, and keeps
the sessions alive by nothing at all: a window is shorter than a session's time-out.
"""

from __future__ import annotations

import socket
import sys
import time
from urllib.parse import urlsplit

SWEEP_S = 0.05


def _ask(sock: socket.socket, request: str) -> str:
    sock.sendall(request.encode())
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += sock.recv(65536)
    return reply.decode("latin-1")


def _play(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    sock = socket.create_connection((parts.hostname, parts.port))
    session = ""
    for track in range(2):
        transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
        head = f"SETUP {url}/trackID={track} RTSP/1.0\r\nCSeq: {track}\r\nTransport: {transport}\r\n"
        reply = _ask(sock, head + (f"Session: {session}\r\n" if session else "") + "\r\n")
        session = reply.partition("Session: ")[2].partition(";")[0]
    _ask(sock, f"PLAY {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n")
    sock.setblocking(False)
    return sock


def main() -> None:
    sockets = [_play(url) for url in sys.argv[1:]]
    print("playing", flush=True)
    while True:  # until it is ended
        time.sleep(SWEEP_S)
        for sock in sockets:
            try:
                while sock.recv(1 << 18, socket.MSG_TRUNC):
                    pass
            except BlockingIOError:
                continue


if __name__ == "__main__":
    main()
