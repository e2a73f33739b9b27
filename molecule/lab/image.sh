#!/bin/sh
# What mmdebstrap runs in the new root, given as $1: one image for every machine of the lab.
set -eu
root=$1

# Each machine makes its own: two with the same host keys or machine id would be one machine to ssh.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf"

# What a container cannot or need not do, so that "systemctl is-system-running" is "running".
for unit in systemd-networkd-wait-online.service systemd-binfmt.service systemd-journald-audit.socket systemd-resolved.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer e2scrub_reap.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    sys-fs-fuse-connections.mount modprobe@.service getty.target console-getty.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# The machines switch on what they need.
chroot "$root" systemctl disable lxd.service lxd.socket lxd-containers.service lxcfs.service lxc-net.service ssh.service \
  2>/dev/null || echo "image: not every unit of LXD exists here"

mkdir -p "$root/var/log/journal"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/apt "$root"/var/log/*.log
