"""The delivery worker: one file from a pipe to a storage destination. Started as `python -m recorderd.workers.deliver PARENT DESCRIPTOR`.

Apart from the recording, because it talks to strangers for hours: what they do to it costs one upload.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from recorderd.protocol.delivery import Deliver, DeliveryDone, Place
from recorderd.workers.channel import Channel, NoWork
from recorderd.workers.confinement import confine
from recorderd.workers.delivery import folder, http_put, s3
from recorderd.workers.delivery.failure import Failure
from recorderd.workers.delivery.incoming import Incoming

_MEMORY_BYTES = 256 << 20
_CPU_S = 24 * 3600

_TO: Mapping[Place, Callable[[Deliver, Incoming], int]] = {
    Place.FOLDER: folder.deliver,
    Place.HTTP: http_put.deliver,
    Place.S3: s3.deliver,
}


def main() -> int:
    confine(memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S, parent=int(sys.argv[1]))
    os.umask(0o027)
    channel = Channel(int(sys.argv[2]))
    try:
        work, fds = channel.receive(Deliver)
    except NoWork:
        return 1
    incoming = Incoming(channel, fds[0])
    try:
        done = DeliveryDone(_TO[work.place](work, incoming))
    except Failure as failure:
        done = DeliveryDone(0, failure.problem, failure.reason)
    try:
        channel.send(done)
        incoming.await_hang_up()
    except OSError:  # the daemon has hung up
        return 1
    return 0 if done.problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
