"""`catalogue.a` and `catalogue.b`: written in turn beside a checkpoint when the catalogue changed, and read only when all else is lost."""

from __future__ import annotations

from recorderd.ring.files import CATALOGUES, read_bytes, write_bytes
from recorderd.ring.layout import crc32
from recorderd.ring.ledger.catalogue import Catalogue, image, read_image
from recorderd.ring.slot_writing import Io


class CatalogueFiles:
    def __init__(self, io: Io, file_bytes: int) -> None:
        self._io = io
        self._file_bytes = file_bytes
        self._written_crc: int | None = None
        self._sequence: int | None = None

    async def read(self) -> tuple[Catalogue | None, list[str]]:
        """The newer valid catalogue, and in words what is wrong with the files. An empty file is no fault. Raises UnsafeFile."""
        best: tuple[int, Catalogue] | None = None
        faults = []
        for name in CATALOGUES:
            try:
                data = await self._bytes(name)
                if not any(data[:8]):
                    continue
                found = read_image(data)
            except (OSError, ValueError) as error:
                faults.append(f"{name}: {error}")
                continue
            if best is None or found[0] > best[0]:
                best = found
        self._sequence = best[0] if best is not None else 0
        return (None if best is None else best[1]), faults

    def distrust(self) -> None:
        """The next `write` writes, whatever was written last."""
        self._written_crc = None

    async def write(self, body: bytes) -> None:
        """Writes and flushes the older file unless this body was written last. Raises OSError."""
        crc = crc32(body)
        if crc == self._written_crc or not body:
            return
        if self._sequence is None:
            await self.read()
        sequence = (self._sequence or 0) + 1
        data = image(body, sequence)
        if len(data) > self._file_bytes:
            raise OSError(f"the catalogue takes {len(data)} bytes, its file holds {self._file_bytes}")
        io = self._io
        name = CATALOGUES[sequence % 2]
        handle = await io.calls.run(io.device.open, name, writable=True, size=self._file_bytes)
        try:
            await write_bytes(io.device, io.calls, io.buffers, handle, 0, data)
            await io.calls.run(io.device.datasync, handle)
        finally:
            await io.calls.run(io.device.close, handle)
        self._sequence, self._written_crc = sequence, crc

    async def _bytes(self, name: str) -> bytes:
        io = self._io
        handle = await io.calls.run(io.device.open, name, writable=False, size=self._file_bytes)
        try:
            return await read_bytes(io.device, io.calls, io.buffers, handle, 0, self._file_bytes)
        finally:
            await io.calls.run(io.device.close, handle)
