"""Run inside a camera's namespace: tries to reach what it is told, all at once, and prints what answered as JSON.

Arguments: tcp:ADDRESS:PORT, udp:ADDRESS:PORT (waits for an echo), ntp:ADDRESS, ping:ADDRESS.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time

WAIT_S = 1.5


def main(targets: list[str]) -> None:
    waiting: dict[socket.socket, str] = {}
    pings = {}
    reached = []
    for target in targets:
        kind, _, rest = target.partition(":")
        address, _, port = rest.partition(":")
        if kind == "ping":
            words = ["ping", "-c", "1", "-W", "1", address]
            pings[target] = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            continue
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.connect((address, 123 if kind == "ntp" else int(port)))
            if kind == "udp":
                made.send(b"hello")
            elif kind == "ntp":
                made.send(struct.pack("!B47x", 0x23))
        except BlockingIOError:
            pass
        except OSError:
            continue
        waiting[made] = target
    end = time.monotonic() + WAIT_S
    while waiting and (left := end - time.monotonic()) > 0:
        tcp = [s for s, target in waiting.items() if target.startswith("tcp")]
        readable, writable, _ = select.select([s for s in waiting if s not in tcp], tcp, [], left)
        for found in (*readable, *writable):
            target = waiting.pop(found)
            if target.startswith("tcp"):
                ok = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            else:
                try:
                    ok = bool(found.recv(100))
                except OSError:
                    ok = False
            if ok:
                reached.append(target)
    reached += [target for target, process in pings.items() if process.wait() == 0]
    print(json.dumps(sorted(reached)))


if __name__ == "__main__":
    main(sys.argv[1:])
