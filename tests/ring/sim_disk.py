"""A disk in memory that remembers every write and flush, and can say what would be left after a power cut at any of them.

Model: a completed write is in the device's volatile cache; `datasync` makes all completed writes durable but turns unwritten extents into
written ones only in the file it names; `syncfs` does so in all files. After a cut, an extent that was never turned reads as zeros, and of
the writes since the last flush any subset survives, each possibly torn between 512-byte sectors.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from recorderd.ring.device import Space, UnsafeFile

BLOCK = 4096
SECTOR = 512


@dataclass
class File:
    data: bytearray
    written: set[int] = field(default_factory=set)  # blocks whose extents are durably "written"
    touched: set[int] = field(default_factory=set)  # turned in RAM only

    def copy(self) -> File:
        return File(bytearray(self.data), set(self.written), set(self.touched))


@dataclass(frozen=True)
class Op:
    kind: str  # write, datasync, syncfs; lost: a flush that failed
    path: str
    offset: int = 0
    data: bytes = b""
    mark: object = None  # what the test's oracle knew when the op was issued


class SimDisk:
    """`device.FormatDevice`. Handles are numbers for paths."""

    def __init__(self, files: dict[str, File] | None = None) -> None:
        self.files: dict[str, File] = files if files is not None else {}
        self.folders: set[str] = {""}
        self.handles: dict[int, tuple[str, bool]] = {}
        self.ops: list[Op] = []
        self.recording = False
        self.mark: Callable[[], object] = lambda: None
        self.fault: Callable[[str, str, int, int], None] = lambda kind, path, offset, size: None  # raises OSError
        self.kind = "ext4"
        self.free_bytes = 1 << 40
        self._next = 3

    # --- Device ---

    def open(self, path: str, *, writable: bool, size: int) -> int:
        self.fault("open", path, 0, 0)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, path)
        if len(self.files[path].data) != size:
            raise UnsafeFile(f"{path}: {len(self.files[path].data)} bytes instead of {size}")
        self._next += 1
        self.handles[self._next] = (path, writable)
        return self._next

    def close(self, handle: int) -> None:
        del self.handles[handle]

    def read(self, handle: int, buffer: memoryview, offset: int) -> None:
        path, _ = self.handles[handle]
        self.fault("read", path, offset, len(buffer))
        assert offset % BLOCK == 0 and len(buffer) % BLOCK == 0, "unaligned read"
        data = self.files[path].data
        if offset + len(buffer) > len(data):
            raise OSError(errno.EIO, "short read")
        buffer[:] = data[offset : offset + len(buffer)]

    def write(self, handle: int, buffer: memoryview, offset: int) -> None:
        path, writable = self.handles[handle]
        assert writable and offset % BLOCK == 0 and len(buffer) % BLOCK == 0, "unaligned write"
        self.fault("write", path, offset, len(buffer))
        file = self.files[path]
        assert offset + len(buffer) <= len(file.data), "write beyond the end"
        if self.recording:
            self.ops.append(Op("write", path, offset, bytes(buffer), self.mark()))
        file.data[offset : offset + len(buffer)] = buffer
        file.touched.update(range(offset // BLOCK, (offset + len(buffer)) // BLOCK))

    def _flush_fault(self, kind: str, path: str) -> None:
        try:
            self.fault(kind, path, 0, 0)
        except OSError:
            if self.recording:  # the device may have dropped any part of its cache
                self.ops.append(Op("lost", "", mark=self.mark()))
            raise

    def datasync(self, handle: int) -> None:
        path, _ = self.handles[handle]
        self._flush_fault("datasync", path)
        if self.recording:
            self.ops.append(Op("datasync", path, mark=self.mark()))
        self.files[path].written |= self.files[path].touched

    def syncfs(self) -> None:
        self._flush_fault("syncfs", "")
        if self.recording:
            self.ops.append(Op("syncfs", "", mark=self.mark()))
        for file in self.files.values():
            file.written |= file.touched

    def release(self) -> None:
        pass

    # --- FormatDevice ---

    def space(self) -> Space:
        return Space(self.kind, self.free_bytes, self.free_bytes, BLOCK)

    def names(self, folder: str) -> list[str]:
        prefix = folder + "/" if folder else ""
        return sorted({p[len(prefix) :].split("/")[0] for p in self.files if p.startswith(prefix)})

    def make_folder(self, path: str) -> None:
        self.folders.add(path)

    def create(self, path: str, size: int) -> None:
        assert path not in self.files
        if size > self.free_bytes:
            raise OSError(errno.ENOSPC, "no space")
        self.free_bytes -= size
        self.files[path] = File(bytearray(size))

    def sync_folder(self, path: str) -> None:
        pass

    # --- power cuts ---

    def start_recording(self) -> dict[str, File]:
        """From here on ops are kept; returns what is durable now (call it right after a flush)."""
        self.recording = True
        self.ops = []
        return {path: file.copy() for path, file in self.files.items()}


class Cutter:
    """Walks through the ops of a finished run and makes the image a power cut before op k would leave."""

    def __init__(self, base: dict[str, File], ops: list[Op]) -> None:
        self._durable = base  # contents as flushed; `written` says which blocks have durable extents
        self._ops = ops
        self._at = 0
        self._since: list[Op] = []
        self._drops = random.Random(len(ops))

    def image(self, cut: int, rng: random.Random) -> SimDisk:
        """The disk after a cut in the middle of op `cut` (an index may not be smaller than in the call before)."""
        while self._at < cut:
            self._advance(self._ops[self._at])
            self._at += 1
        files = {path: file.copy() for path, file in self._durable.items()}
        pending = list(self._since)
        if cut < len(self._ops) and self._ops[cut].kind == "write":
            pending.append(self._ops[cut])
        for op in pending:
            fate = rng.random()
            if fate < 0.35:
                continue
            self._apply(files[op.path], op, rng if fate > 0.7 else None)
        for file in files.values():
            for block in set(range(len(file.data) // BLOCK)) - file.written:
                file.data[block * BLOCK : (block + 1) * BLOCK] = bytes(BLOCK)
            file.touched = set(file.written)
        return SimDisk(files)

    def _advance(self, op: Op) -> None:
        if op.kind == "write":
            self._since.append(op)
            return
        if op.kind == "lost":
            self._since = [written for written in self._since if self._drops.random() < 0.5]
            return
        for written in self._since:
            self._apply(self._durable[written.path], written, None)
            blocks = range(written.offset // BLOCK, (written.offset + len(written.data)) // BLOCK)
            self._durable[written.path].touched.update(blocks)
        self._since = []
        files = [self._durable[op.path]] if op.kind == "datasync" else list(self._durable.values())
        for file in files:
            file.written |= file.touched

    @staticmethod
    def _apply(file: File, op: Op, torn: random.Random | None) -> None:
        if torn is None:
            file.data[op.offset : op.offset + len(op.data)] = op.data
            return
        for at in range(0, len(op.data), SECTOR):
            if torn.random() < 0.5:
                file.data[op.offset + at : op.offset + at + SECTOR] = op.data[at : at + SECTOR]
