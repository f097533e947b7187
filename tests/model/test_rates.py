"""What the recorder promises from what it was measured to do."""

from __future__ import annotations

from recorderd.model.rates import MIN_COMMIT_BYTES, MIN_COMMITS, DiskSpeed, Rates, rates

MIB = 1 << 20


def test_a_disk_that_was_not_measured_promises_nothing() -> None:
    assert rates(0, 512 * MIB, 100_000) == Rates(0, 0)
    speed = DiskSpeed()
    for _ in range(MIN_COMMITS - 1):
        speed.add(4 * MIB, 40_000_000)
    assert speed.bytes_s == 0
    speed.add(4 * MIB, 40_000_000)
    assert speed.bytes_s == round(4 * MIB / 0.04)


def test_small_commits_say_nothing_and_slow_ones_do_not_decide() -> None:
    speed = DiskSpeed()
    for _ in range(500):
        speed.add(MIN_COMMIT_BYTES - 1, 30_000_000)
    assert speed.bytes_s == 0
    for number in range(100):
        speed.add(8 * MIB, 2_000_000_000 if number % 3 == 0 else 80_000_000)
    assert speed.bytes_s == round(8 * MIB / 0.08)


def test_the_newest_commits_decide() -> None:
    speed = DiskSpeed()
    for took_ns in (50_000_000, 500_000_000):
        for _ in range(600):
            speed.add(10 * MIB, took_ns)
    assert speed.bytes_s == 20 * MIB


def test_the_smaller_of_disk_and_memory() -> None:
    slow_disk = rates(16_000_000, 512 * MIB, 100_000)
    assert slow_disk == Rates(64_000, 64_000), "half of 16 MB/s"
    little_memory = rates(200_000_000, 64 * MIB, 100_000)
    assert little_memory == Rates(13_400, 13_400), "16 MiB for ten seconds"
    both = rates(200_000_000, 2048 * MIB, 100_000)
    assert both == Rates(100_000, 429_400), "one recording is bound by the cap of a stream"
