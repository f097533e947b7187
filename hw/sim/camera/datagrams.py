"""RTP over UDP: one pair of sockets per track (RFC 3550, section 11)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from hw.sim.camera.rtp import INTERLEAVE_BYTES


class DatagramPair:
    """An even RTP port and the RTCP port above it, towards one client. Raises OSError when no pair of ports is free."""

    def __init__(self, host: str, peer: str, client: tuple[int, int], reported: Callable[[bytes], None]) -> None:
        self.client = client
        self._peer, self._reported = peer, reported
        self._rtp, self._rtcp = _bind_pair(host)
        self.server: tuple[int, int] = (self._rtp.getsockname()[1], self._rtcp.getsockname()[1])
        asyncio.get_running_loop().add_reader(self._rtcp.fileno(), self._read)

    def send(self, packets: memoryview, *, rtcp: bool) -> None:
        """Sends interleaved packets as datagrams; what the socket's buffer does not take is lost, as on a network."""
        sock, port = (self._rtcp, self.client[1]) if rtcp else (self._rtp, self.client[0])
        at = 0
        while at + INTERLEAVE_BYTES <= len(packets):
            end = at + INTERLEAVE_BYTES + int.from_bytes(packets[at + 2 : at + 4], "big")
            try:
                sock.sendto(packets[at + INTERLEAVE_BYTES : end], (self._peer, port))
            except (BlockingIOError, ConnectionRefusedError):
                return
            at = end

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._rtcp.fileno())
        self._rtp.close()
        self._rtcp.close()

    def _read(self) -> None:
        try:
            self._reported(self._rtcp.recv(2048))
        except (BlockingIOError, ConnectionRefusedError):
            return


def _bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    for _ in range(50):
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.setblocking(False)
        rtp.bind((host, 0))
        port = rtp.getsockname()[1]
        if port % 2 == 0:
            rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            rtcp.setblocking(False)
            try:
                rtcp.bind((host, port + 1))
            except OSError:
                rtcp.close()
            else:
                return rtp, rtcp
        rtp.close()
    raise OSError("no pair of UDP ports is free")
