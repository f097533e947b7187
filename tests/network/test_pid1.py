"""The undo timer, the boot unit and our services under a real systemd, which is PID 1 of namespaces of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.namespaces import missing
from tests.peers import pid1

WHY_NOT = missing() or pid1.why_not()
pytestmark = [pytest.mark.host, pytest.mark.root, pytest.mark.skipif(bool(WHY_NOT), reason=str(WHY_NOT))]

JOB = """
set -u
show() {
    echo "$1: $(ip -4 -br addr show dev eth0 | awk '{print $3}') $(ip -br link show type bridge | awk '{print $1}')" \
        "$(hostname) $(nft list tables | tr '\\n' ' ')"
}
change() { env LD_LIBRARY_PATH=/opt/recorderd/python/lib PYTHONPATH=/opt/recorderd/src:/opt/recorderd/site \\
    /opt/recorderd/python/bin/python3 /opt/test/change.py "$@"; }
units() { echo "$1: $(systemctl is-active recorderd-dnsmasq recorderd-chrony recorderd-network-undo.timer | tr '\\n' ' ')"; }
systemd-sysusers >/dev/null 2>&1
ip link set lo up
ip link add eth0 type veth peer name far0; ip link set far0 up; ip link set eth0 up
ip link add lan1 type veth peer name far1; ip link set far1 up
ip addr add 10.1.0.5/24 brd + dev eth0
hostname before
show start
change apply 10.1.0.8/24
show applied; units applied
journalctl --no-pager -n 8 -u recorderd-dnsmasq | sed 's/^/journal: /'
for i in $(seq 40); do [ -e /var/lib/recorderd/network/pending ] || [ -e /var/lib/recorderd/network/undoing ] || break; sleep 0.5; done
sleep 1
show undone; units undone
token=$(change apply 10.1.0.8/24)
change confirm "$token"
show confirmed; units confirmed
ip addr flush dev eth0; ip link del cameras; nft flush ruleset; hostname lost; systemctl stop recorderd-hostname
show lost
systemctl restart recorderd-network.service
sleep 1
show booted; units booted
change apply 10.1.0.9/24 >/dev/null
sed -i 's/^boot .*/boot another/' /var/lib/recorderd/network/pending
systemctl stop recorderd-network-undo.timer
ip addr flush dev eth0; ip link del cameras; nft flush ruleset
systemctl restart recorderd-network.service
show reverted
systemctl --failed --no-legend | sed 's/^/failed: /'
"""

# chronyd must never touch this machine's clock.
CHRONY = "[Service]\nExecStart=\nExecStart=/usr/sbin/chronyd -x -d -u root -f /var/lib/recorderd/network/active/chrony.conf\n"


def test_a_change_under_a_real_systemd(tmp_path: Path) -> None:
    script = (Path(__file__).with_name("pid1_change.py")).read_text()
    files = {
        "/opt/test/change.py": script,
        "/etc/systemd/system/recorderd-chrony.service.d/test.conf": CHRONY,
    }
    done = pid1.run(tmp_path, JOB, files)
    report = f"{done.out}\n{done.err}\n{done.console[-6000:]}"
    lines = dict(line.partition(": ")[::2] for line in reversed(done.out.splitlines()) if ": " in line)
    states = [
        line
        for line in done.out.splitlines()
        if line.startswith(("start", "applied", "undone", "confirmed", "lost", "booted"))
    ]
    table = "table inet recorderd"
    assert states[0] == "start: 10.1.0.5/24  before ", report
    assert f"applied: 10.1.0.8/24 cameras box-of-the-test {table}" in done.out, report
    assert "applied: active active active" in done.out, report
    # The process was killed after the change: systemd alone brought the former network back.
    assert "undone: 10.1.0.5/24  before " in done.out, report
    assert "undone: inactive inactive inactive" in done.out, report
    assert f"confirmed: 10.1.0.8/24 cameras box-of-the-test {table}" in done.out, report
    assert "confirmed: active active inactive" in done.out, report
    assert "lost:   lost" in done.out, report
    assert f"booted: 10.1.0.8/24 cameras box-of-the-test {table}" in done.out, report
    assert lines["reverted"].startswith(f"10.1.0.8/24 cameras box-of-the-test {table}"), report
    assert "failed:" not in done.out, report
