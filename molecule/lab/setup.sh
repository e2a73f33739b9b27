#!/bin/sh
# Runs inside a machine of the lab, after its files are in place; $1 is what it plays. May run again.
set -eu

systemctl daemon-reload
systemctl enable --quiet lab-network.service
systemctl restart lab-network.service
hostname -F /etc/hostname
ssh-keygen -q -A
[ "$1" = bare ] || systemd-tmpfiles --create /etc/tmpfiles.d/maw-lab.conf

plain_linux() {
  systemctl enable --quiet ssh.service
  systemctl restart ssh.service
}

# LXD in this container: its containers' ids come from the range that this container itself has.
nested_lxd() {
  have=$(awk '{ total += $3 } END { print total }' /proc/self/uid_map)
  if [ "$have" -lt 9000000 ]; then
    echo "this container has $have user ids, LXD in it needs 9000000: see root in /etc/subuid and /etc/subgid" >&2
    exit 1
  fi
  echo root:1000000:8000000 > /etc/subuid
  echo root:1000000:8000000 > /etc/subgid
  systemctl enable --quiet --now lxcfs.service lxd.socket lxd.service lxd-containers.service
  lxd waitready --timeout=60
  lxd init --preseed < /usr/local/lib/maw-lab/lxd.yaml
  if [ "$(lxc query /1.0/images/aliases)" = "[]" ]; then
    work=$(mktemp -d)
    mkdir -p "$work/rootfs/bin" "$work/rootfs/sbin" "$work/rootfs/etc"
    for folder in dev proc root run sys tmp; do mkdir "$work/rootfs/$folder"; done
    cp /bin/busybox "$work/rootfs/bin/busybox"
    for name in sh ls cat echo true sleep hostname ps id ip; do ln -s busybox "$work/rootfs/bin/$name"; done
    ln -s ../bin/busybox "$work/rootfs/sbin/init"
    printf '::sysinit:/bin/true\n::ctrlaltdel:/bin/true\n' > "$work/rootfs/etc/inittab"
    printf 'architecture: %s\ncreation_date: 1\nproperties: {description: busybox}\n' "$(uname -m)" \
      > "$work/metadata.yaml"
    tar -C "$work" -cf "$work/image.tar" metadata.yaml rootfs
    lxc image import "$work/image.tar" --alias busybox --quiet
    rm -rf "$work"
  fi
}

# The WSL side: nothing listens, Windows starts an sshd for each connection.
wsl_side() {
  systemctl disable --quiet --now ssh.socket ssh.service
  systemctl mask --quiet ssh.socket ssh.service
}

windows_side() {
  python3 -I /opt/windows/programs/machine.py install /var/lib/windows --account you \
    --name "$(cat /etc/hostname)" --distro Ubuntu --port 22 "$@"
  # A new account is locked, which an sshd without PAM takes for "may not log in", also with a key.
  usermod --password '*' you
  systemctl enable --quiet windows-sshd.service
  systemctl restart windows-sshd.service
}

case $1 in
  core|pve) plain_linux ;;
  notebook)
    wsl_side
    windows_side
    nested_lxd ;;
  # Nothing of ours is there: what a satellite needs, maw itself brings.
  bare) windows_side --bare ;;
  *) echo "usage: setup.sh core|pve|notebook|bare" >&2; exit 2 ;;
esac

state=$(systemctl is-system-running --wait) || { systemctl --failed --no-legend --plain >&2; exit 1; }
echo "$state"
