"""GStreamer's RTSP server as a camera: a child process under the system's Python, ended by its id.

Run as a script (by /usr/bin/python3, which has GStreamer's bindings) it serves its arguments' pipelines; imported, it offers `serve`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"


def available() -> bool:
    if not Path(SYSTEM_PYTHON).exists():
        return False
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    return subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def serve(mounts: dict[str, str], *, user: str = "", password: str = "", basic: bool = False) -> Iterator[str]:
    """Serves each path of `mounts` with its gst-launch line (payloaders named pay0, pay1, ...). Yields rtsp://127.0.0.1:PORT."""
    spec = json.dumps({"mounts": mounts, "user": user, "password": password, "basic": basic})
    process = subprocess.Popen(
        [SYSTEM_PYTHON, __file__, spec],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"GStreamer's server did not start: {process.communicate()[1]}")
        yield f"rtsp://127.0.0.1:{int(line)}"
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _main() -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    spec = json.loads(sys.argv[1])
    Gst.init(None)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    token = None
    if spec["user"]:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        if spec["basic"]:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(spec["user"], spec["password"]), token)
        else:
            from gi.repository import GstRtsp

            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(spec["user"], spec["password"], token)
        server.set_auth(auth)
    for path, line in spec["mounts"].items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(line)
        if token is not None:
            factory.add_role_from_structure(
                Gst.Structure.new_from_string(
                    "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true;"
                )
            )
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_IN | GLib.IO_HUP, lambda *_: loop.quit())
    loop.run()


if __name__ == "__main__":
    _main()
