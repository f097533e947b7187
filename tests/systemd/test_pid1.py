"""The units under systemd as PID 1: ready without a disk, watched, restarted, its socket never refusing."""

from __future__ import annotations

from pathlib import Path

import pytest

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
