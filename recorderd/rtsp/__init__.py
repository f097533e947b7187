"""RTSP, SDP, RTP and RTCP as sans-IO state machines: bytes in, events out. See README.md."""
