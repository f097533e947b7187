"""Run inside a namespace: an NTP server (RFC 5905, mode 4) whose clock is OFFSET seconds from this machine's."""

from __future__ import annotations

import socket
import struct
import sys
import time

ERA_1970_S = 2_208_988_800


def stamp(seconds: float) -> bytes:
    seconds += ERA_1970_S
    return struct.pack("!II", int(seconds), int(seconds % 1 * (1 << 32)))


def main(address: str, offset_s: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 123))
        print("serving", flush=True)
        while True:
            request, peer = server.recvfrom(512)
            now = stamp(time.time() + offset_s)
            head = struct.pack("!BBbbII4s", 0x24, 1, request[2], -20, 0, 0, b"GPS\0")
            server.sendto(head + now + request[40:48] + now + stamp(time.time() + offset_s), peer)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
