# The way back of bootstrap.sh, whose functions it uses; it is sent with it.

remove_key() {
  [ -n "${maw_key:-}" ] && [ -e "$keys" ] || return 0
  target=$(readlink -f "$keys")
  content=$(mktemp) || stop 'no file can be made in /tmp' "See that the distro's disk is not full: df /."
  removing=yes
  export removing
  with_key < "$target" > "$content"
  if [ ! -s "$content" ] && grep -qsxF "$keys" "$made"; then
    rm -f "$target"
    note "$keys"
  elif ! cmp -s "$content" "$target"; then
    put "$target" "$(stat -c %a "$target")" < "$content"
    note "$keys"
  fi
  rm -f "$content"
  ! grep -qsxF /root/.ssh "$made" || rmdir "$home/.ssh" 2> /dev/null || warn '/root/.ssh is not empty, and stays'
}

remove_packages() {
  [ -e "$record" ] || return 0
  others=$(find "${record%/*}" -type f ! -name "${record##*/}" -exec cat {} +)
  gone=
  for name in $(cat "$record"); do
    printf '%s\n' "$others" | grep -qxF "$name" || gone="$gone $name"
  done
  if [ -n "$gone" ]; then
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    said=$(apt-get -q -y -o DPkg::Lock::Timeout=120 purge $gone 2>&1) ||
      stop "apt-get cannot remove$gone: $(printf %s "$said" | tail -n 3)" 'In the distro, as root: apt-get --fix-broken install. Then run this again.'
    note "removed$gone"
  fi
  rm -f "$record"
}

remove_all() {
  [ ! -e "$bridge" ] || { undo_settings; note "$bridge"; }
  if grep -qsxF "$tmpfiles" "$made"; then
    rm -f "$tmpfiles"
    note "$tmpfiles"
  fi
  for one in $(grep -sxE '/etc/ssh/ssh_host_[a-z0-9_.]+' "$made"); do
    rm -f "$one"
    note "$one"
  done
  if [ -d "$state/host-keys-before" ]; then
    for one in "$state"/host-keys-before/*; do mv "$one" "/etc/ssh/"; done
    note 'the host keys of before'
  fi
  # Last of what lets maw in: until here a run that was stopped can be repeated.
  remove_packages
  remove_key
  for one in /etc/ssh/sshd_config.d /etc/tmpfiles.d; do
    ! grep -qsxF "$one" "$made" || [ ! -d "$one" ] || rmdir "$one" 2> /dev/null || warn "$one is not empty, and stays"
  done
  rm -rf "$state"
  for one in packages ''; do
    [ -n "$(ls -A "/var/lib/maw/$one" 2> /dev/null)" ] || rm -df "/var/lib/maw/$one"
  done
}
