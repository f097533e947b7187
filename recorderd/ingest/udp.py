"""The UDP side of a session: a pair of ports per track, drained by the sweep, packets put back in order.

Why in the client and not in a child process with FFmpeg: FFmpeg delivers damaged pictures as good ones, folds sender reports into media
time and is a frame late; here a lost packet is known by its number. It costs one system call a packet (there is no recvmmsg in Python):
about 470 a second for a camera of 4 Mbit/s, against 25 over TCP. TCP stays the default.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field

from recorderd.ingest.connecting import NotConnected
from recorderd.model.causes import GapCause
from recorderd.rtsp.client import Client
from recorderd.rtsp.reorder import Reorder

log = logging.getLogger(__name__)

MAX_TRACKS = 3  # video, audio, metadata
TRIES = 20
RECEIVE_BUFFER_BYTES = 1024 * 1024  # a key frame that comes between two sweeps; UDP buffers do not tune themselves
SO_RCVBUFFORCE = 33  # socket(7): past net.core.rmem_max, which is 208 KiB as a rule, with CAP_NET_ADMIN
MAX_PACKET_BYTES = 2048
MAX_PACKETS = 1500  # per sweep and socket: 350 Mbit/s
MAX_REPORTS = 20
REPORT_EVERY_NS = 5_000_000_000


def _make_room(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


@dataclass(slots=True)
class _Pair:
    rtp: socket.socket
    rtcp: socket.socket
    order: Reorder = field(default_factory=Reorder)

    @property
    def ports(self) -> tuple[int, int]:
        return self.rtp.getsockname()[1], self.rtcp.getsockname()[1]


class UdpSide:
    """Bound to the address that the RTSP connection uses; packets from elsewhere than the camera are dropped."""

    def __init__(self, local_address: str, camera_address: str) -> None:
        """Binds a pair for each track a session can have. Raises `NotConnected` when the system has none."""
        self._local = local_address
        self._camera = camera_address
        self._pairs: list[_Pair] = []
        self._given = 0
        self._next_report_ns = 0
        try:
            for _ in range(MAX_TRACKS):
                self._pairs.append(self._bind())
        except NotConnected:
            self.close()
            raise

    def ports(self) -> tuple[int, int]:
        """The next pair, for one SETUP."""
        self._given += 1
        return self._pairs[(self._given - 1) % MAX_TRACKS].ports

    def _bind(self) -> _Pair:
        family = socket.AF_INET6 if ":" in self._local else socket.AF_INET
        for _ in range(TRIES):
            rtp = socket.socket(family, socket.SOCK_DGRAM)
            rtcp = socket.socket(family, socket.SOCK_DGRAM)
            try:
                rtp.bind((self._local, 0))
                port = rtp.getsockname()[1]
                if port % 2 == 0 and port < 65535:
                    rtcp.bind((self._local, port + 1))
                    for sock in (rtp, rtcp):
                        sock.setblocking(False)
                    _make_room(rtp)
                    return _Pair(rtp, rtcp)
            except OSError as error:
                log.debug("UDP ports: %s", error)
            rtp.close()
            rtcp.close()
        raise NotConnected(GapCause.CAMERA_ERROR, "no pair of UDP ports is free")

    def drain(self, client: Client, view: memoryview, now_ns: int) -> int:
        """Hands everything that has come to the client; returns how many bytes that was."""
        total = 0
        for index, ports in enumerate(client.udp_ports):
            pair = next((pair for pair in self._pairs if pair.ports == ports), None)
            if pair is None:
                continue
            at = 0
            for _ in range(MAX_PACKETS):
                if len(view) - at < MAX_PACKET_BYTES:
                    client.settle()
                    at = 0
                size = self._receive(pair.rtp, view[at : at + MAX_PACKET_BYTES])
                if size is None:
                    break
                for packet in pair.order.push(view[at : at + size], now_ns):
                    client.datagram(index, memoryview(packet), now_ns, control=False)
                at += size
                total += size
            for packet in pair.order.expire(now_ns):
                client.datagram(index, memoryview(packet), now_ns, control=False)
            client.settle()
            for _ in range(MAX_REPORTS):
                size = self._receive(pair.rtcp, view[:MAX_PACKET_BYTES])
                if size is None:
                    break
                client.datagram(index, view[:size], now_ns, control=True)
                total += size
        return total

    def _receive(self, sock: socket.socket, view: memoryview) -> int | None:
        """The size of the next packet, 0 for one that is not the camera's; None: nothing is there."""
        try:
            size, sender = sock.recvfrom_into(view)
        except (BlockingIOError, ConnectionRefusedError):  # the latter: an ICMP answer to a report of ours
            return None
        return size if sender[0] == self._camera else 0

    def report(self, client: Client, now_ns: int) -> None:
        """Receiver reports, every five seconds."""
        if now_ns < self._next_report_ns:
            return
        self._next_report_ns = now_ns + REPORT_EVERY_NS
        for receiver, ports, granted in zip(client.receivers, client.udp_ports, client.transports, strict=True):
            pair = next((pair for pair in self._pairs if pair.ports == ports), None)
            if pair is None or granted is None or granted.server_port is None:
                continue
            try:
                pair.rtcp.sendto(client.receiver_report(receiver), (self._camera, granted.server_port[1]))
            except OSError:
                continue  # reports are a courtesy; what matters is seen on the RTSP connection

    def close(self) -> None:
        for pair in self._pairs:
            pair.rtp.close()
            pair.rtcp.close()
        self._pairs.clear()
