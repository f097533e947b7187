#!/bin/bash
# pid1.sh STAGE: systemd as PID 1 in namespaces of its own, over a throw-away overlay of this machine's root.
# STAGE holds `tree/` (copied into the overlay), `binds` (lines: SOURCE TARGET, mounted read-only) and `job/` (mounted at /job, read-write).
set -eu
stage=$(realpath "$1")
if [ "${2:-}" != inside ]; then
    group=
    for base in /sys/fs/cgroup/unified /sys/fs/cgroup; do
        if [ -e "$base/cgroup.procs" ] && mkdir "$base/recorderd-test.$$" 2>/dev/null; then group=$base/recorderd-test.$$; break; fi
    done
    [ -n "$group" ] || { echo "pid1: no cgroup v2 tree" >&2; exit 77; }
    trap 'find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null' EXIT
    bash -c 'echo $$ > "$1/cgroup.procs"; exec unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup --propagation private "$2" "$3" inside' - "$group" "$0" "$stage" &
    wait $!
    exit
fi
work=$stage/mnt
mkdir -p "$work"
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
cd "$work/root"
cp -a "$stage/tree/." .
mkdir -p job old
mount --bind "$stage/job" job
while read -r source target; do
    mkdir -p ".$target"
    mount --bind "$source" ".$target"
    mount -o remount,bind,ro ".$target"
done < "$stage/binds"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
# No unit of this machine starts but what basic.target pulls in; the machine id and journal are the overlay's own.
ln -sf /dev/null etc/systemd/system/getty.target
ln -sf /dev/null etc/systemd/system/systemd-networkd.service
mkdir -p etc/systemd/system/multi-user.target.wants
pivot_root . old
exec chroot . /bin/bash -c 'ip link set lo up; umount -l /old; exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=test-job.target --log-target=console --log-level=warning --show-status=no </dev/null >/job/console 2>&1'
