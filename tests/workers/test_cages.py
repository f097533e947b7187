"""The cages: their numbers against the kernel's headers, their programs run by an interpreter and by this kernel, and workers inside."""

from __future__ import annotations

import asyncio
import errno
import io
import re
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import pytest

from recorderd.model.stream import Codec
from recorderd.recording.exports import Exports
from recorderd.workers.sandbox import AUDIT_ARCH, MEDIA, PARSER, Cage
from tests.media import clips
from tests.recording.stored_ring import NS, RECORDING, record, ring_in, session_units, wanted
from tests.simulated_time import FakeClock

KILL, ALLOW, ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),  # aarch64 has no table of its own
}
CAGES = pytest.mark.parametrize("cage", [PARSER, MEDIA], ids=["parser", "media"])


def verdict(cage: Cage, machine: str, architecture: int, number: int) -> int:
    """What the kernel would say: classic BPF, as much of it as filters use (linux/filter.h)."""
    program = cage.program(machine)
    at = accumulator = 0
    while True:
        code, if_true, if_false, k = program[at]
        at += 1
        if code == 0x20:  # load a word of seccomp_data
            accumulator = {0: number, 4: architecture}[k]
        elif code == 0x06:
            return k
        else:
            at += if_true if (accumulator == k if code == 0x15 else accumulator >= k) else if_false


@CAGES
@pytest.mark.parametrize("machine", list(HEADERS))
def test_the_program_lets_through_what_is_listed_and_nothing_else(cage: Cage, machine: str) -> None:
    otherwise = KILL if cage is PARSER else ERRNO | errno.EPERM
    allowed = {number for number in range(512) if verdict(cage, machine, AUDIT_ARCH[machine], number) == ALLOW}
    assert allowed == set(cage.numbers(machine))
    assert {verdict(cage, machine, AUDIT_ARCH[machine], n) for n in {*range(512), 1 << 29} - allowed} == {otherwise}
    assert verdict(cage, machine, AUDIT_ARCH[machine], 0x4000_0000) == otherwise  # x32
    (other,) = set(AUDIT_ARCH) - {machine}
    assert verdict(cage, machine, AUDIT_ARCH[other], cage.numbers(machine)[0]) == KILL
    assert verdict(cage, machine, 0x4000_0003, cage.numbers(machine)[0]) == KILL  # i386 on x86-64


@CAGES
@pytest.mark.parametrize("machine", list(HEADERS))
def test_numbers_are_the_kernels(cage: Cage, machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers (linux-libc-dev) are not installed")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text()))
    column = list(AUDIT_ARCH).index(machine)
    for name, pair in cage.allowed.items():
        known = found.get(name, found.get(f"{name}2") if machine == "aarch64" and name == "sync_file_range" else None)
        assert pair[column] == (None if known is None else int(known)), name


def in_the_cage(program: str) -> list[str]:
    head = "import os, socket, sys, threading\nfrom recorderd.workers.sandbox import MEDIA\n"
    command = [sys.executable, "-c", head + textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')",
        "socket.socket()",
        "socket.socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(1, 0)",
        "os.unlink('/nowhere')",
        "threading.Thread(target=print).start()",
    ],
)
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_media_worker_is_refused_what_is_not_its_work(where: str, attempt: str) -> None:
    said = in_the_cage(
        f"""
        closed, ends = threading.Event(), threading.Event()
        def reach_out():
            assert MEDIA.close()
            try:
                {attempt}
            except (PermissionError, RuntimeError) as error:
                os.write(1, b"refused ")
            closed.set()
        if {where == "main"}:
            reach_out()
        else:
            threading.Thread(target=reach_out).start()
            closed.wait()
        os.write(1, b"goes on")
        """
    )
    assert said == ["refused", "goes", "on"]


def test_exports_and_pictures_are_made_in_the_cage_by_every_thread_without_capabilities(tmp_path: Path) -> None:
    clip = clips.video(frames=75)

    async def main() -> None:
        clock = FakeClock()
        async with ring_in(tmp_path / "ring", clock) as ring:
            start = await record(ring, clock, *session_units(clip))
            for session in range(2, 14):  # more than the pipe holds: the worker is still there when it is looked at
                await record(ring, clock, *session_units(clip), session=session)
            wall = start + clock.realtime_ns() - clock.boottime_ns()
            exports = Exports(ring=ring, clock=clock)
            export = await exports.export(
                recording=RECORDING, tracks=wanted([clip.form]), start_ns=wall, stop_ns=wall + 60 * NS
            )
            for work in (export, await exports.snapshot(track=wanted([clip.form])[0])):
                pieces = aiter(work)
                assert await anext(pieces)
                threads = list(Path(f"/proc/{work.pid}/task").iterdir())  # noqa: ASYNC240
                states = [dict(re.findall(r"(\w+):\s+(.*)", (one / "status").read_text())) for one in threads]
                assert {state["Seccomp"] for state in states} == {"2"}
                assert {state[name] for state in states for name in ("CapEff", "CapPrm", "CapAmb")} == {"0" * 16}
                assert (len(states) > 1) is (work is export)
                await work.aclose()

    asyncio.run(main())


def key_frame(codec: Codec) -> bytes:
    name, pixels = {
        Codec.H264: ("libx264", "yuv420p"),
        Codec.H265: ("libx265", "yuv420p"),
        Codec.MJPEG: ("mjpeg", "yuvj420p"),
        Codec.AV1: ("libsvtav1", "yuv420p"),
    }[codec]
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "w"))
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 320, 176, pixels, Fraction(1)
    frame = av.VideoFrame(320, 176, pixels)
    for plane in frame.planes:
        plane.update(bytes([90]) * plane.buffer_size)
    frame.pts = 0
    unit = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    if codec in (Codec.H264, Codec.H265):
        nals = [nal for nal in re.split(rb"\0?\0\0\x01", unit) if nal]
        unit = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
    return unit


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265, Codec.MJPEG, Codec.AV1])
@pytest.mark.parametrize("image", ["jpeg", "png"])
def test_pictures_of_every_codec_come_out_of_the_cage(codec: Codec, image: str) -> None:
    """Decoders and encoders load nothing more once it is closed."""
    program = f"""if True:
        import sys
        from recorderd.model.stream import Codec, TrackFormat
        from recorderd.workers.sandbox import MEDIA
        from recorderd.workers.snapshot import decode, encode
        form = TrackFormat(Codec({codec.value!r}), 90_000, width=320, height=176)
        unit = sys.stdin.buffer.read()
        assert MEDIA.close()
        sys.stdout.buffer.write(encode(decode(form, unit), width=160, image={image!r}))
    """
    done = subprocess.run([sys.executable, "-c", program], input=key_frame(codec), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    with av.open(io.BytesIO(done.stdout)) as container:
        shown = next(container.decode(video=0))
    assert (shown.width, shown.height) == (160, 88)
