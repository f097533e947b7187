"""Connections as the sweep reads them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest

from recorderd.ingest.connecting import connect_tcp, tls_connector
from recorderd.model.device import CertificateCheck, CertificateValidation
from recorderd.model.device_tls import context_for
from tests.peers.certificate import make_certificate, needs_openssl

RECORD_BYTES = 16 * 1024  # of TLS, at most
SENT = bytes(range(256)) * 256  # 64 KiB: what waits in a socket nobody reads


@needs_openssl
@pytest.mark.parametrize("encrypted", [False, True])
def test_one_read_takes_what_there_is(tmp_path: Path, encrypted: bool) -> None:
    """A sweep that took one TLS record would hold a camera down to 2.6 Mbit/s."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    listening = socket.create_server(("127.0.0.1", 0))
    sent, done = threading.Event(), threading.Event()

    def serve() -> None:
        sock, _ = listening.accept()
        with context.wrap_socket(sock, server_side=True) if encrypted else sock as camera:
            camera.sendall(SENT)
            sent.set()
            done.wait(20)

    async def scenario() -> bytes:
        connect = tls_connector(context_for(CertificateCheck(CertificateValidation.OFF))) if encrypted else connect_tcp
        wire = await connect("127.0.0.1", listening.getsockname()[1])
        assert sent.wait(20)
        view = memoryview(bytearray(640 * 1024))
        first = wire.receive_into(view)
        assert first > RECORD_BYTES
        taken = bytes(view[:first])
        done.set()
        while True:
            try:
                count = wire.receive_into(view)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            if count == 0:
                break
            taken += view[:count]
        wire.close()
        return taken

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert asyncio.run(scenario()) == SENT
    finally:
        done.set()
        thread.join()
        listening.close()
