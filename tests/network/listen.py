"""Run inside a namespace: accepts TCP and echoes UDP on the given ports until it is killed."""

from __future__ import annotations

import select
import socket
import sys


def main(ports: list[int]) -> None:
    tcp, udp = [], []
    for port in ports:
        tcp.append(socket.create_server(("0.0.0.0", port)))
        echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        echo.bind(("0.0.0.0", port))
        udp.append(echo)
    print("listening", flush=True)
    kept = []
    while True:
        for ready in select.select(tcp + udp, [], [])[0]:
            if ready in tcp:
                kept.append(ready.accept())
            else:
                data, peer = ready.recvfrom(100)
                ready.sendto(data, peer)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
