"""RTSP, SDP, RTP, RTCP and the depacketisers as sans-IO state machines: bytes in, events out."""
