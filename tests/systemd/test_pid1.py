"""The units under systemd as PID 1: ready without a disk, watched, restarted, its socket never refusing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.media import judges
from tests.peers import pid1

pytestmark = [
    pytest.mark.host,
    pytest.mark.root,
    pytest.mark.skipif(pid1.why_not() is not None, reason=str(pid1.why_not())),
]

JOB = """
set -u
systemd-sysusers >/dev/null 2>&1
systemd-tmpfiles --create recorderd.conf 2>/dev/null
systemctl start recorderd.socket || echo SOCKET-FAILED
recorderctl version | sed 's/^/first: /'           # activates the service
systemctl show -p ActiveState -p StatusText -p User recorderd.service
grep -E '^(CapEff|NoNewPrivs)' /proc/$(systemctl show -p MainPID --value recorderd.service)/status
for i in 1 2 3 4 5; do
    systemctl restart --no-block recorderd.service
    recorderctl version | grep -q '^recorderd 0' || echo REFUSED
done
kill -KILL $(systemctl show -p MainPID --value recorderd.service)
recorderctl version | sed 's/^/after kill: /'
setpriv --reuid=65534 --regid=65534 --clear-groups recorderctl version 2>&1 | sed 's/^/nobody: /'
echo 'nonsense = 1' > /etc/recorderd/recorderd.toml
systemctl restart recorderd.service
systemctl show -p ActiveState -p ExecMainStatus -p NRestarts recorderd.service | sed 's/^/broken: /'
recorderctl status 2>&1 | sed 's/^/ctl: /' &
sleep 3; kill $! 2>/dev/null
"""


def test_the_units_under_a_real_systemd(tmp_path: Path) -> None:
    done = pid1.run(tmp_path, JOB)
    report = f"{done.out}\n{done.err}\n{done.console}"
    assert "first: recorderd 0." in done.out, report
    assert "ActiveState=active" in done.out, report
    assert "User=recorderd" in done.out, report
    assert "CapEff:\t0000000000001000" in done.out, report  # CAP_NET_ADMIN and nothing else
    assert "NoNewPrivs:\t1" in done.out, report
    assert "REFUSED" not in done.out, report
    assert "after kill: recorderd 0." in done.out, report
    assert "permission denied" in done.out, report
    assert "broken: ExecMainStatus=78" in done.out, report
    assert "broken: ActiveState=failed" in done.out, report


FORMAT = """\
import asyncio, pathlib, time
from recorderd.model.clock import SystemClock
from recorderd.ring.device import FileDevice
from recorderd.ring.disk_threads import DiskThreads
from recorderd.ring.formatting import format_ring

async def main():
    calls = DiskThreads(clock=SystemClock(), name="format")
    device = FileDevice(pathlib.Path("/srv/recorderd"), durability="none")
    await format_ring(
        device, calls, formatted_ns=time.time_ns(), durability="none", slots=8, slot_bytes=8 << 20, writers=1
    )
    device.release()
    calls.close()

asyncio.run(main())
"""
MEDIA_JOB = """
set -u
python() { PYTHONPATH=/opt/recorderd/src:/opt/recorderd/site LD_LIBRARY_PATH=/opt/recorderd/python/lib \\
    PYTHONDONTWRITEBYTECODE=1 "$(ls /opt/recorderd/python/bin/python3.*[0-9] | head -1)" "$@"; }
systemd-sysusers >/dev/null 2>&1
systemd-tmpfiles --create recorderd.conf 2>/dev/null
mkdir -p /srv/recorderd; mount -t tmpfs tmpfs /srv/recorderd; python /job-format.py; chown -R recorderd: /srv/recorderd
python -m hw.sim.camera --h265-g711 --kbit-s 6000 --texture 0.5 --port 15540 >/job/camera &
camera=$!
systemctl start recorderd.socket
for i in $(seq 100); do grep -q url /job/camera && break; sleep 0.1; done
recorderctl devices add "$(grep -o 'rtsp://[^"]*' /job/camera | head -1)" --id door --record
for i in $(seq 100); do recorderctl status | grep -q '^RECORDING 1/1' && break; sleep 0.2; done
# More than the pipes hold, so that the worker of the last export is still there when it is looked at.
for i in $(seq 100); do
    recorderctl export door --from "1 min ago" --to now -o /job/much.mp4 --force >/dev/null 2>&1
    [ "$(stat -c %s /job/much.mp4)" -gt 2000000 ] && break; sleep 0.5
done
for i in $(seq 20); do recorderctl snapshot door -o /job/door.jpg 2>/job/snapshot && break; cat /job/snapshot; sleep 0.5; done
for sound in copy aac; do
    recorderctl export door --from "1 min ago" --to now --audio $sound -o /job/$sound.mp4 2>&1 | sed "s/^/$sound: /"
done
recorderctl export door --from "1 min ago" --to now -o - | (
    for i in $(seq 100); do worker=$(pgrep -f workers.export) && break; sleep 0.1; done
    daemon=$(systemctl show -p MainPID --value recorderd)
    filters() { sed -n 's/^Seccomp_filters:.//p' /proc/$1/status; }
    for i in $(seq 100); do [ "$(filters $worker)" -gt "$(filters $daemon)" ] && break; sleep 0.1; done
    grep -E '^(CapEff|Seccomp_filters):' /proc/$worker/status /proc/$daemon/status
    ps -o ni= $worker
    cat > /job/piped.mp4
)
journalctl -u recorderd.service --no-pager -o cat | tail -20
kill $camera
"""


@judges.needs_ffmpeg
def test_media_comes_out_of_a_recorder_in_its_sandbox(tmp_path: Path) -> None:
    """Its workers live under the unit's filters and in cages of their own."""
    config = '[recorder]\nboard = "none"\n[disk]\npath = "/srv/recorderd"\ndurability = "none"\n'
    done = pid1.run(tmp_path, MEDIA_JOB, {"/etc/recorderd/recorderd.toml": config, "/job-format.py": FORMAT})
    report = f"{done.out}\n{done.err}\n{done.console}"
    for name in ("copy", "aac", "piped"):
        path = tmp_path / "job" / f"{name}.mp4"
        assert path.exists(), report
        assert judges.ffmpeg_decode(path) > 10, report
    caps = re.findall(r"CapEff:\t(\w+)", done.out)
    filters = [int(count) for count in re.findall(r"Seccomp_filters:\t(\d+)", done.out)]
    assert [int(mask, 16) for mask in caps] == [0, 0x1000], report
    assert filters[0] == filters[1] + 1, report
    assert (tmp_path / "job/door.jpg").read_bytes().startswith(b"\xff\xd8"), report
