#!/bin/bash
# Init of the User-mode Linux guest: this machine's root, read-only, with memory over what must be written. $UML_JOB is run, then it halts.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
release=$(uname -r)
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/lib /mnt/tmp /run/netns
modules=$(ls -d /usr/lib/uml/modules/"$release" | head -n 1)
ip link set lo up
modprobe() { command modprobe -d /run/root -q "$1"; }
mkdir -p /run/root/lib/modules
cp -r "$modules" "/run/root/lib/modules/$release"
depmod -b /run/root "$release" 2>/dev/null
for module in veth bridge 8021q nf_tables nf_conntrack nft_ct nft_nat nft_masq; do modprobe "$module"; done
job=$(cat "$UML_JOB")
mount --bind /mnt/tmp /tmp
cd "$UML_FOLDER" || exit
bash -c "$job" </dev/null
echo "job ended: $?"
/sbin/halt -f -f -p 2>/dev/null || kill -TERM 1
