"""Simulated cameras that speak real RTSP (see README.md)."""

from hw.sim.camera.authentication import Credentials
from hw.sim.camera.camera import Camera
from hw.sim.camera.clip import ClipSource, PacketStyle, camera_clip, sound_clip, video_clip
from hw.sim.camera.clock import CameraClock
from hw.sim.camera.encoder import VideoSettings
from hw.sim.camera.faults import Faults, Quirks
from hw.sim.camera.live import LiveSource
from hw.sim.camera.metadata import EventScript, StatefulEvent, WithEvents
from hw.sim.camera.sound import SoundSettings

__all__ = [
    "Camera",
    "CameraClock",
    "ClipSource",
    "Credentials",
    "EventScript",
    "Faults",
    "LiveSource",
    "PacketStyle",
    "Quirks",
    "SoundSettings",
    "StatefulEvent",
    "VideoSettings",
    "WithEvents",
    "camera_clip",
    "sound_clip",
    "video_clip",
]
