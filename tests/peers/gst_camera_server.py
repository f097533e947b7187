"""GStreamer's RTSP server as a camera. Runs under the system's Python with gi (never imported by the tests): one JSON line of options in on
stdin, one JSON line with the port out, then it serves until its stdin ends.

Every client gets a session of its own that starts with the clip's first access unit. The clip is a file of access units, one
after the other, described by the options: {"user", "password", "certificate", "loops", "tracks": [{"caps", "payloader", "file", "loop_ns",
"units": [[offset, size, pts_ns, dts_ns, key]]}]}. `loops` 0 is for ever; `certificate` a PEM file with its key.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


class Feeder:
    """Pushes one track's access units into its appsrc, one for each time it asks."""

    def __init__(self, track, loops):
        with open(track["file"], "rb") as file:  # noqa: PTH123
            self.data = file.read()
        self.units, self.loop_ns, self.loops = track["units"], track["loop_ns"], loops
        self.next = 0

    def need_data(self, source, _size):
        turn, index = divmod(self.next, len(self.units))
        if self.loops and turn == self.loops:
            source.emit("end-of-stream")
            return
        offset, size, pts, dts, key = self.units[index]
        buffer = Gst.Buffer.new_wrapped(self.data[offset : offset + size])
        buffer.pts, buffer.dts = pts + turn * self.loop_ns, dts + turn * self.loop_ns
        buffer.duration = self.loop_ns // len(self.units)
        if not key:
            buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
        self.next += 1
        source.emit("push-buffer", buffer)


def configure(_factory, media, options):
    bin_ = media.get_element()
    for number, track in enumerate(options["tracks"]):
        source = bin_.get_by_name(f"source{number}")
        feeder = Feeder(track, options["loops"])
        source.connect("need-data", feeder.need_data)


def main():
    options = json.loads(sys.stdin.readline())
    Gst.init(None)
    Gst.Buffer.new_wrapped(
        b""
    )  # gi makes its classes when they are first used, and not safely from the tracks' two threads
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    parts = [
        f'appsrc name=source{n} format=time caps="{track["caps"]}" ! {track["payloader"]} name=pay{n} pt={96 + n}'
        for n, track in enumerate(options["tracks"])
    ]
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( " + " ".join(parts) + " )")
    factory.set_shared(False)
    factory.connect("media-configure", configure, options)
    if options["user"] or options["certificate"]:
        auth = GstRtspServer.RTSPAuth()
        if options["certificate"]:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options["certificate"]))
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
        if options["user"]:
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(options["user"], options["password"], token)
        else:
            auth.set_default_token(token)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
        permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
        factory.set_permissions(permissions)
        server.set_auth(auth)
    server.get_mount_points().add_factory("/stream", factory)
    loop = GLib.MainLoop()
    if not server.attach(None):
        raise SystemExit("the port cannot be had")
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    print(json.dumps({"port": server.get_bound_port()}), flush=True)
    loop.run()


main()
