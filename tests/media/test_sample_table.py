"""What `Fragmenter` writes, `parse_fragment` reads back; what nobody wrote is refused and nothing worse."""

from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.media import formats, init_segment
from recorderd.media.errors import BoxError, MediaError
from recorderd.media.fragmenter import Cut, Fragmenter
from recorderd.media.moov_reader import parse_moov
from recorderd.media.sample_table import parse_fragment, sequence_number
from recorderd.model.ports import WriterSpec, WriterTrack
from recorderd.model.stream import AccessUnit, Codec, TrackFormat
from tests.media import clips

VIDEO = TrackFormat(Codec.H264, 90_000, reorder_depth=2)
AUDIO = formats.g711_format(Codec.PCMU)


def body(cut: Cut, bases: list[int], sequence: int = 7) -> bytes:
    buffer = bytearray(cut.fragment.size + 8)
    cut.fragment.write_into(memoryview(buffer), sequence, bases)
    assert buffer[cut.fragment.size :] == bytes(8)
    return bytes(buffer[: cut.fragment.size])


def drain(fragmenter: Fragmenter, max_bytes: int = 1 << 22) -> list[Cut]:
    cuts = []
    while (cut := fragmenter.flush(max_bytes=max_bytes)) is not None:
        cuts.append(cut)
    return cuts


def read_back(cuts: list[Cut]) -> dict[int, list[tuple[int, bytes, bool]]]:
    """Per track (pts, data, key): pts counted from each fragment's first sample, as its anchor says it."""
    out: dict[int, list[tuple[int, bytes, bool]]] = {}
    for cut in cuts:
        payload = body(cut, [0, 0])
        assert sequence_number(payload) == 7
        for table, first, run in zip(parse_fragment(payload, 2), cut.firsts, cut.fragment.runs, strict=True):
            assert table.track == first.track == run.track
            assert table.count == run.count
            rows = zip(table.presentation_times(), table.starts(), table.sizes, table.keys, strict=True)
            found = [(first.pts + at, payload[start : start + size], key) for at, start, size, key in rows]
            assert tuple(n for n, row in enumerate(found) if row[2]) == run.key_samples or table.track == 1
            out.setdefault(table.track, []).extend(found)
    return out


@st.composite
def streams(draw: st.DrawFn) -> list[AccessUnit]:
    """Two tracks with any order of presentation times, jumps, pauses and sizes."""
    units, times = [], [draw(st.integers(-(1 << 40), 1 << 40)), draw(st.integers(0, 1 << 33))]
    arrival = 10**12
    for _ in range(draw(st.integers(1, 40))):
        track = draw(st.integers(0, 1))
        times[track] += draw(st.one_of(st.just(3600), st.integers(-10_000, 10_000), st.integers(-(1 << 34), 1 << 34)))
        arrival += draw(st.integers(0, 3_000_000_000))
        data = draw(st.binary(min_size=1, max_size=40))
        units.append(AccessUnit(track, times[track], data, arrival, draw(st.booleans()) or track == 1))
    return units


@settings(deadline=None, max_examples=150)
@given(streams(), st.integers(1, 60), st.integers(0, 3))
def test_every_unit_comes_back_once_in_order_with_its_time(units: list[AccessUnit], size: int, every: int) -> None:
    fragmenter = Fragmenter([VIDEO, AUDIO])
    cuts: list[Cut] = []
    pushed: list[int] = []  # before each of them
    for number, unit in enumerate(units, 1):
        fragmenter.push(unit)
        if every and number % every == 0 and (cut := fragmenter.take(unit.arrival_ns, max_bytes=size)):
            cuts.append(cut)
            pushed.append(number)
    cuts += drain(fragmenter, size)
    pushed += [len(units)] * (len(cuts) - len(pushed))
    taken = 0
    for cut, number in zip(cuts, pushed, strict=True):
        taken += sum(run.count for run in cut.fragment.runs)
        assert cut.arrived_from_ns <= cut.arrived_to_ns
        assert sum(unit.arrival_ns <= cut.arrived_to_ns for unit in units[:number]) <= taken
    assert fragmenter.pending_bytes == 0
    assert fragmenter.oldest_arrival_ns is None
    found = read_back(cuts)
    for track in (0, 1):
        assert found.get(track, []) == [(unit.pts, unit.data, unit.key) for unit in units if unit.track == track]


@pytest.mark.parametrize("depth", range(5))
def test_decode_times_of_a_well_behaved_source_never_pass_presentation(depth: int) -> None:
    """Any reorder depth: offsets stay at or above 0, times grow, durations fit, tfdt goes on where the last fragment ended."""
    order = [0]
    for start in range(1, 61, depth + 1):
        order += [start + depth, *range(start, start + depth)]
    fragmenter = Fragmenter([TrackFormat(Codec.H265, 90_000, reorder_depth=1 if depth else 0)])
    expected = 0
    for n, at in enumerate(order):
        fragmenter.push(AccessUnit(0, 5000 + 3600 * at, b"x", n * 40_000_000, n == 0))
        cut = fragmenter.take(n * 40_000_000) if n % 7 == 6 else None
        if cut is not None:
            (table,) = parse_fragment(body(cut, [5000]), 1)
            assert min(table.composition) >= 0
            assert set(table.durations) == {3600}
            assert table.tfdt == expected or expected == 0
            expected = table.tfdt + 3600 * table.count
    assert expected > 0


def test_a_source_that_violates_its_depth_gets_a_larger_one() -> None:
    """Declared 0, really 1: after the first violation later decoding times are as for depth 1."""
    fragmenter = Fragmenter([TrackFormat(Codec.H264, 90_000)])
    for n, at in enumerate([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9]):
        fragmenter.push(AccessUnit(0, at * 3600, bytes([at]), n, n == 0))
        if n == 4:
            early = fragmenter.take(n)
    assert early is not None
    late = fragmenter.flush()
    assert late is not None
    table = parse_fragment(body(late, [0]), 1)[0]
    assert list(table.durations) == [3600] * table.count
    assert set(table.composition) <= {0, 3600, 7200}


def test_a_pause_releases_what_is_held_and_excuses_what_follows() -> None:
    fragmenter = Fragmenter([TrackFormat(Codec.H264, 90_000, reorder_depth=2)])
    fragmenter.push(AccessUnit(0, 0, b"a", 0, True))
    assert fragmenter.take(1_000_000_000) is None
    assert not fragmenter.due(3_999_999_999)
    assert fragmenter.due(4_000_000_000)
    cut = fragmenter.take(4_000_000_000)
    assert cut is not None
    assert (cut.arrived_from_ns, cut.arrived_to_ns, cut.fragment.runs[0].count) == (0, 0, 1)
    assert fragmenter.oldest_arrival_ns is None


def test_bytes_make_a_fragment_due() -> None:
    fragmenter = Fragmenter([VIDEO])
    for n in range(12):
        fragmenter.push(AccessUnit(0, n * 3600, bytes(16 * 1024), n, n == 0))
        assert fragmenter.due(n) == (n - 3 + 1 >= 8)


FORMATS = [
    clips.video(Codec.H264).form,
    clips.video(Codec.H265, width=318, height=178).form,
    clips.aac(0.2).form,
    formats.g711_format(Codec.PCMU),
    formats.g711_format(Codec.PCMA, 16_000),
    formats.g726_format(4),
    formats.opus_format(2),
    formats.mjpeg_format(640, 480),
    formats.metadata_format(),
]


def init(*tracks: TrackFormat) -> bytes:
    made = tuple(WriterTrack(uuid.UUID(int=n + 1), form, f"T{n}") for n, form in enumerate(tracks))
    return init_segment.moov(WriterSpec(uuid.UUID(int=100), "door", uuid.UUID(int=200), "camera", made))


def test_formats_come_back_from_a_moov() -> None:
    assert parse_moov(init(*FORMATS)) == tuple(FORMATS)
    for form in FORMATS:
        assert parse_moov(init(form)) == (form,)


def test_what_cannot_be_stored_is_refused_with_its_reason() -> None:
    with pytest.raises(MediaError, match="picture of 0x0"):
        init(TrackFormat(Codec.H264, 90_000))


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, b"\0\0\0\x07", "box of 7"),
        (0, b"\xff\xff\xff\xff", "box of 4294967295"),
        (4, b"moox", "not one moof"),
        (8, b"\0\0\0\x0f", "box of"),
    ],
)
def test_broken_fragments_are_named(at: int, value: bytes, reason: str) -> None:
    fragmenter = Fragmenter([AUDIO])
    fragmenter.push(AccessUnit(0, 0, b"abc", 0))
    payload = bytearray(body(drain(fragmenter)[0], [0]))
    payload[at : at + len(value)] = value
    with pytest.raises(BoxError, match=reason):
        parse_fragment(bytes(payload), 1)


def fuzz(rounds: int, seed: int) -> int:
    """Mutates fragments and init segments; returns how many mutants were still accepted."""
    rng = random.Random(seed)
    clip = clips.video(Codec.H264, bframes=3, pyramid=True)
    fragmenter = Fragmenter([clip.form, AUDIO])
    for unit in clips.interleave(
        clips.on_track(clip.units[:40], 0, clips.CLOCK), clips.on_track(clips.g711(1.6).units, 1, 8000)
    ):
        fragmenter.push(unit)
    cut = drain(fragmenter)[0]
    whole = body(cut, [0, 0])
    moof = int.from_bytes(whole[:4], "big")
    # All of the structure, little of the media: the mutations go where the parser looks.
    seeds = [(whole[:moof] + whole[moof:], moof + 8), *((init(*FORMATS[n : n + 2]), 0) for n in range(0, 9, 2))]
    accepted = 0
    for _ in range(rounds):
        seed_bytes, structure = rng.choice(seeds)
        mutant = bytearray(seed_bytes)
        structure = structure or len(mutant)
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(structure)
            action = rng.randrange(5)
            if action == 0:
                mutant[at] ^= 1 << rng.randrange(8)
            elif action == 1:
                mutant[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x08"))
            elif action == 2:
                del mutant[at : at + rng.randrange(1, 9)]
            elif action == 3:
                mutant[at:at] = rng.randbytes(rng.randrange(1, 9))
            else:
                del mutant[at:]
            structure = max(1, min(structure, len(mutant)))
            if not mutant:
                break
        try:
            if seed_bytes is whole:
                tables = parse_fragment(bytes(mutant), 2)
                for table in tables:
                    assert table.offset > 0
                    assert table.offset + table.bytes <= len(mutant)
                    assert len(table.presentation_times()) == table.count
            else:
                parse_moov(bytes(mutant))
            accepted += 1
        except MediaError:
            pass
    return accepted


def test_mutated_boxes_are_accepted_whole_or_refused() -> None:
    assert 0 < fuzz(6000, 1) < 6000


@pytest.mark.slow
def test_half_a_million_mutants() -> None:
    for seed in range(10):
        fuzz(50_000, seed)


def fuzz_parameter_sets(rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    seeds = [(form.config, form.codec) for form in FORMATS if form.config]
    parsers = {
        Codec.H264: formats.h264_from_config,
        Codec.H265: formats.h265_from_config,
        Codec.AAC: formats.aac_format,
        Codec.OPUS: formats.opus_from_config,
    }
    for _ in range(rounds):
        config, codec = rng.choice(seeds)
        mutant = bytearray(config)
        for _ in range(rng.randrange(1, 6)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        if rng.random() < 0.3:
            del mutant[rng.randrange(1, len(mutant)) :]
        try:
            form = parsers[codec](bytes(mutant))
        except MediaError:
            continue
        assert 0 <= form.reorder_depth <= 16
        assert form.width < 1 << 17


def test_mutated_parameter_sets_are_read_or_refused() -> None:
    fuzz_parameter_sets(6000, 2)


@pytest.mark.slow
def test_half_a_million_mutated_parameter_sets() -> None:
    for seed in range(10):
        fuzz_parameter_sets(50_000, seed)
