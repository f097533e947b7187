"""The sockets of a session over UDP."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from recorderd.ingest import udp


def room(monkeypatch: pytest.MonkeyPatch, wanted_bytes: int) -> int:
    """What the kernel gives a media socket; it doubles what it is asked for, to pay for its own records (socket(7))."""
    monkeypatch.setattr(udp, "RECEIVE_BUFFER_BYTES", wanted_bytes)
    side = udp.UdpSide("127.0.0.1", "127.0.0.1")
    try:
        return side._pairs[0].rtp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    finally:
        side.close()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only CAP_NET_ADMIN goes past net.core.rmem_max")
def test_the_systems_bound_does_not_bind_the_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = int(Path("/proc/sys/net/core/rmem_max").read_text())
    assert room(monkeypatch, 4 * bound) == 8 * bound


def test_without_the_capability_there_is_what_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = int(Path("/proc/sys/net/core/rmem_max").read_text())
    set_option = socket.socket.setsockopt

    def refused(sock: socket.socket, level: int, option: int, value: int) -> None:
        if option == udp.SO_RCVBUFFORCE:
            raise PermissionError
        set_option(sock, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", refused)
    assert room(monkeypatch, 4 * bound) == 2 * bound
