"""What a simulated camera gets wrong: always (`Quirks`, a model's character) and on command (`Faults`, changed while it plays)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Quirks:
    """How this model of camera behaves all the time."""

    session_timeout_s: int = 60
    keepalive_methods: frozenset[str] = frozenset({"GET_PARAMETER", "SET_PARAMETER", "OPTIONS"})  # others get 405
    keepalive_by_rtcp: bool = True  # receiver reports keep the session alive
    data_before_play_reply: bool = False
    sdp_without_origin: bool = False
    describe_without_content_type: bool = False
    content_base: bool = True
    absolute_control: bool = False  # control URLs in the SDP are absolute
    wrong_rtptime: bool = False  # in RTP-Info
    rtp_info: bool = True
    report_interval_s: float = 5.0  # between RTCP sender reports
    first_report_s: float = 0.0  # after the first packet
    packets_per_ms: int = (
        3  # how fast an access unit leaves: 3 x 1400 bytes per ms is a camera behind a 100 Mbit/s port
    )
    events_on_request: bool = (
        False  # the metadata track is there only for those who ask with `event=on`, as Axis cameras have it
    )
    transports: frozenset[str] = frozenset({"tcp", "udp"})


@dataclass(slots=True)
class Faults:
    """What is wrong now. Every field may change at any time and acts from the next packet, reply or connection on."""

    not_found: bool = False  # DESCRIBE gives 404
    no_media: bool = False  # PLAY is answered, nothing follows
    stall: bool = False  # media stops, RTSP goes on answering
    hang: bool = False  # nothing is sent or answered any more, connections stay open
    no_teardown_reply: bool = False
    content_length_error: int = 0  # added to Content-Length of every reply with a body
    redirect: str = ""  # DESCRIBE gives 302 to this URL
    loss: float = 0.0  # probability that an RTP packet is not sent
    lose: int = 0  # so many of the next video packets are not sent
    reorder: float = 0.0  # probability that a packet is sent after its successor
    no_marker: bool = False  # no RTP packet carries a marker bit
    cut: int = 0  # so many of the next interleaved packets are cut in half, their length field unchanged
    junk: int = 0  # before each of so many next interleaved packets stand bytes that belong to nothing
    drip_bytes_per_s: int = 0  # everything leaves at this rate; 0: no limit
    drift_ppm: dict[str, float] = field(default_factory=dict)  # RTP clock against real time, per kind of track
    reports: str = (
        "good"  # RTCP sender reports: good, none, zero, nonsense (random NTP time), stale (RTP time never moves)
    )
