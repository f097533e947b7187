"""Writers: queues of fragments that wait for the next commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from recorderd.model.causes import GapCause
from recorderd.model.ports import Anchor, DurableSink, FragmentBody, StoreUnavailable, WriterSpec
from recorderd.ring.open_slot import Pending, WriterKey, writer_key

_I64: Final = 1 << 63


class QueueBound:
    """Bytes that wait for the disk, over all writers."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0

    def has_room(self, size: int) -> bool:
        return self.bytes + size <= self.limit_bytes


class Refusal(Protocol):
    def __call__(self, size: int) -> StoreUnavailable | None: ...


def _check_anchor(anchor: Anchor) -> None:
    """What the record's fields can hold; a fragment that could not be written would stop every commit."""
    report = anchor.report
    if not (0 <= anchor.boottime_ns < _I64 and abs(anchor.media_time) < _I64 and 0 <= anchor.session < 1 << 32):
        raise ValueError(f"anchor out of range: {anchor}")
    if report is not None and not (
        0 <= report.ntp < 1 << 64 and abs(report.rtp) < _I64 and 0 <= report.arrival_ns < _I64
    ):
        raise ValueError(f"sender report out of range: {report}")


class RingWriter:
    """`ports.Writer`. Fragments stay in `queue` (or in a commit) until they are durable."""

    def __init__(
        self,
        spec: WriterSpec,
        sink: DurableSink,
        *,
        head: tuple[bytes, bytes],
        bound: QueueBound,
        refusal: Refusal,
        urge: Callable[[], None],
    ) -> None:
        self._spec = spec
        self.head = head  # ftyp and moov of its slots
        self.sink = sink
        self.key: WriterKey = writer_key(spec)
        self.queue: deque[Pending] = deque()
        self.closed = False
        self._appended = 0
        self.appended_bytes = 0
        self.worst_delay_ns = 0  # from a fragment's first arrival to its durability: what a power cut would have cost
        self.durable_through_ns = 0
        self._bound = bound
        self._refusal = refusal
        self._urge = urge

    @property
    def spec(self) -> WriterSpec:
        return self._spec

    def append(
        self,
        fragment: FragmentBody,
        run: int,
        anchors: Sequence[Anchor],
        arrived_from_ns: int,
        arrived_to_ns: int,
        *,
        urgent: bool = False,
    ) -> None:
        if self.closed:
            raise ValueError("the writer is closed")
        anchored = {anchor.track for anchor in anchors}
        if not fragment.runs or any(part.track not in anchored for part in fragment.runs):
            raise ValueError("every track of a fragment needs an anchor")
        if any(not 0 <= part.track < len(self._spec.tracks) for part in fragment.runs):
            raise ValueError("fragment of a track the writer does not have")
        if not 0 <= arrived_from_ns <= arrived_to_ns < _I64 or not 0 <= run < _I64:
            raise ValueError(f"arrived from {arrived_from_ns} to {arrived_to_ns} ns, run {run}")
        for anchor in anchors:
            _check_anchor(anchor)
        refused = self._refusal(fragment.size)
        if refused is not None:
            raise refused
        self._appended += 1
        self.queue.append(
            Pending(self, self._spec, fragment, run, tuple(anchors), arrived_from_ns, arrived_to_ns, self._appended)
        )
        self.appended_bytes += fragment.size
        self._bound.bytes += fragment.size
        if urgent:
            self._urge()

    def close(self) -> None:
        self.closed = True
        self._urge()

    # --- for commits ---

    def settle(self, done: Sequence[Pending], now_ns: int) -> None:
        """These fragments are durable."""
        self.worst_delay_ns = max(self.worst_delay_ns, now_ns - min(pending.from_ns for pending in done))
        self.durable_through_ns = max(pending.to_ns for pending in done)
        for pending in done:
            self._bound.bytes -= pending.body.size
        self.sink.durable(self, self.durable_through_ns, len(done))

    def give_up(self, pending: Pending, cause: GapCause) -> None:
        """This fragment cannot be stored."""
        self._bound.bytes -= pending.body.size
        self.sink.lost(self, cause, pending.from_ns, pending.to_ns)

    def put_back(self, pending: Sequence[Pending]) -> None:
        """They were not made durable: back into the queue, in the order in which they were appended."""
        self.queue = deque(sorted([*pending, *self.queue], key=lambda one: one.number))
