"""Session descriptions (RFC 8866, RFC 2326 appendix C) as cameras write them."""

from __future__ import annotations

from collections.abc import Sequence

from hw.sim.camera.rtp import Media


def describe(media: Sequence[Media], *, address: str, origin: bool = True, base: str = "") -> str:
    """The SDP of a camera. Track n has the control URL `trackID=n`, relative to the content base, or behind `base` when that is given."""
    lines = ["v=0"]
    if origin:
        lines.append(f"o=- 1 1 IN IP4 {address}")
    lines += ["s=Simulated camera", f"c=IN IP4 {address}", "t=0 0", f"a=control:{base or '*'}", "a=range:npt=now-"]
    for index, track in enumerate(media):
        lines.append(f"m={track.kind} 0 RTP/AVP {track.payload_type}")
        channels = f"/{track.channels}" if track.kind == "audio" else ""
        lines.append(f"a=rtpmap:{track.payload_type} {track.encoding}/{track.clock_rate}{channels}")
        if track.fmtp:
            lines.append(f"a=fmtp:{track.payload_type} {track.fmtp}")
        lines += [f"a=control:{base}trackID={index}", "a=recvonly" if track.kind == "application" else "a=sendonly"]
    return "\r\n".join(lines) + "\r\n"
