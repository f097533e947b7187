"""Buffers are reused, bounded, and given back when nobody needs them any more."""

from __future__ import annotations

from recorderd.ring.buffers import BufferPool

KIB, MIB = 1 << 10, 1 << 20


def test_fragments_of_any_size_share_the_same_few() -> None:
    pool = BufferPool()
    seen = set()
    for size in (300 * KIB, 500 * KIB, 70 * KIB, MIB):
        buffer = pool.take(size)
        assert len(buffer.view) == size
        seen.add(id(buffer.mapping))
        pool.give(buffer)
    assert len(seen) == 1
    assert (pool.taken, pool.held_bytes) == (0, MIB)


def test_what_is_kept_is_bounded() -> None:
    pool = BufferPool(keep_bytes=3 * MIB)
    for buffer in [pool.take(MIB) for _ in range(8)]:
        pool.give(buffer)
    assert pool.held_bytes == 3 * MIB


def test_a_burst_leaves_nothing_behind_and_what_is_in_use_stays() -> None:
    pool = BufferPool()
    for buffer in [pool.take(4 * MIB) for _ in range(4)] + [pool.take(MIB) for _ in range(6)]:
        pool.give(buffer)
    for _ in range(20):
        two = [pool.take(600 * KIB), pool.take(900 * KIB)]
        for buffer in two:
            pool.give(buffer)
        pool.commit_over()
    assert pool.held_bytes == 2 * MIB
    for _ in range(20):
        pool.commit_over()
    assert pool.held_bytes == 0
