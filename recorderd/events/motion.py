"""Which events of a camera say that something moves (reference: the VMD generations of Axis cameras, ONVIF's motion topics)."""

from __future__ import annotations

import re

from recorderd.events.filter import BadFilter, event_steps, property_value
from recorderd.model.ports import Event

_MOTION = (
    re.compile(
        r"CameraApplicationPlatform/VMD[^/]*/.*"
    ),  # VMD 4 and Lite: one topic per camera and profile, and their aggregates
    re.compile(r"RuleEngine/VMD3/.*"),
    re.compile(r"RuleEngine/VideoMotionDetection(/.*)?"),  # VMD 2
    re.compile(r"VideoAnalytics/MotionDetection(/.*)?"),  # built into old firmware
    re.compile(r"VideoSource/MotionAlarm"),
    re.compile(r"RuleEngine/MotionRegionDetector/Motion"),
    re.compile(r"RuleEngine/CellMotionDetector/Motion"),
)
_INTERNAL = "xinternal_data"


def is_motion(topic: str) -> bool:
    try:
        path = "/".join(name for _, name in event_steps(topic))
    except BadFilter:
        return False
    return _INTERNAL not in path and any(pattern.fullmatch(path) for pattern in _MOTION)


def motion_state(event: Event) -> bool | None:
    """True or False where the event is about motion, else None. A non-property motion event says nothing lasting: None."""
    return property_value(event) if is_motion(event.topic) else None
