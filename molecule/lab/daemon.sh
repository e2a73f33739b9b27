#!/bin/sh
# Becomes an LXD daemon. Runs in a mount namespace of its own; $1 is the file for its process id.
# LXD inside a container needs a tree of cgroup version 2 only, which liblxc does not find where
# version 1 is mounted beside it (as without systemd). The rest of the machine keeps its own view.
set -eu
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
  for mounted in /sys/fs/cgroup/*/; do
    umount -l "$mounted" 2>/dev/null || echo "$mounted is no mount" >&2
  done
  umount -l /sys/fs/cgroup 2>/dev/null || echo "/sys/fs/cgroup is no mount" >&2
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
echo $$ > "$1"
exec lxd --group root
