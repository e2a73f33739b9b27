# Makes a WSL distro ready for the bridge: what its `sshd -i` needs, and the bridge's key. Run as root by any
# POSIX shell. The role writes assignments before it (maw_do, maw_key, ...) and a call of `main` after it, so
# that a script that did not arrive whole does nothing. It prints one line, a JSON object, in ASCII.
# maw_do: look (changes nothing), install, remove.

set -u
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# A message is compared by nobody, and bytes must stay bytes.
LC_ALL=C
export LC_ALL

state=/var/lib/maw/wsl_distro
made=$state/made
record=/var/lib/maw/packages/wsl_distro_access
bridge=/etc/ssh/sshd_config.d/10-bridge.conf
tmpfiles=/etc/tmpfiles.d/maw-sshd.conf
home=/root
keys=$home/.ssh/authorized_keys
sshd=/usr/sbin/sshd
host_key=/etc/ssh/ssh_host_ed25519_key.pub
changed='' missing='' warnings='' host='' conf='' new_keys=false

bridge_lines() {
  printf '%s\n' 'PermitRootLogin prohibit-password' 'PasswordAuthentication no' 'KbdInteractiveAuthentication no' \
    'MaxSessions 100'
}

# --- what is told -----------------------------------------------------------------------------------------

text() { tr '\n\t' '  ' | tr -cd ' -~' | sed 's/[\\"]/\\&/g'; }
quoted() { printf '"%s"' "$(printf %s "$1" | text)"; }

list() { # lines -> ["a","b"]
  printf '['
  printf '%s\n' "$1" | sed '/^$/d' | {
    comma=
    while IFS= read -r one; do
      printf '%s' "$comma"
      quoted "$one"
      comma=,
    done
  }
  printf ']'
}

answer() { # ok, reason, step
  first=$(cat /proc/1/comm 2>/dev/null)
  printf '{"schema":"maw.bootstrap/1","ok":%s,"reason":%s,"step":%s,"changed":%s,"missing":%s,"warnings":%s,' \
    "$1" "$(quoted "$2")" "$(quoted "$3")" "$(list "$changed")" "$(list "$missing")" "$(list "$warnings")"
  printf '"host_key":%s,"new_host_keys":%s,"first_process":%s,"kernel":%s,"wsl_conf":%s}\n' \
    "$(quoted "$host")" "$new_keys" "$(quoted "$first")" "$(quoted "$(uname -r)")" "$(quoted "$conf")"
}

stop() { # reason, next step
  answer false "$1" "$2"
  exit 1
}

note() { changed="$changed
$1"; }
lacks() { missing="$missing
$1"; }
warn() { warnings="$warnings
$1"; }
looks() { [ "$maw_do" = look ]; }

# --- files ------------------------------------------------------------------------------------------------

remember() { # a thing that was not there before; told before it is made, so that a killed run knows it too
  mkdir -p "$state"
  grep -qsxF "$1" "$made" || printf '%s\n' "$1" >> "$made"
}

folder() { # path, mode
  [ -d "$1" ] && return
  remember "$1"
  mkdir -m "$2" "$1" || stop "$1 cannot be made" "See why: mkdir $1, as root in the distro."
}

put() { # path, mode; the content comes on standard input
  cat > "$1.maw-new" && chmod "$2" "$1.maw-new" && sync "$1.maw-new" && mv -f "$1.maw-new" "$1" && return
  rm -f "$1.maw-new"
  stop "$1 cannot be written" "See that the distro's disk is not full (df /) and not read-only, then run it again."
}

keep() { # a file that is about to change, as it was before maw; or that there was none
  if [ ! -e "$1" ]; then
    remember "$1"
  elif [ ! -e "$1.before-maw" ] && ! grep -qsxF "$1" "$made"; then
    cp -p "$1" "$1.before-maw"
  fi
}

# --- packages ---------------------------------------------------------------------------------------------

wanted() {
  [ -x "$sshd" ] || echo openssh-server
  command -v python3 > /dev/null || echo python3
  python3 -c 'import apt' 2> /dev/null || echo python3-apt
}

installed() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii  *//p' | sort -u; }

step_of_apt='In the distro, as root, see what apt-get update says; behind a proxy write Acquire::http::Proxy into /etc/apt/apt.conf.d/proxy. Or put the .deb files into a folder of the core and name it with -e wsl_distro_packages_path=FOLDER. Then run this again: it goes on where it stopped.'

packages() {
  names=$(wanted | tr '\n' ' ')
  [ -n "$names" ] || return 0
  for name in $names; do lacks "$name"; done
  looks && { note "would install $names"; return 0; }
  command -v apt-get > /dev/null || stop "it has no apt-get, and lacks $names" \
    'Take Debian 12, Ubuntu 22.04 or newer as the distro.'
  remember_packages "$names"
  was=$(installed)
  said=$(apt_install "$names" 2>&1) || stop "$names cannot be installed: $(printf %s "$said" | tail -n 3)" "$step_of_apt"
  still=$(wanted | tr '\n' ' ')
  [ -z "$still" ] || stop "$still is not there though apt-get installed it" "$step_of_apt"
  for name in $(installed); do
    printf '%s\n' "$was" | grep -qxF "$name" || remember_packages "$name"
  done
  missing=''
  note "installed $names"
}

remember_packages() {
  mkdir -p "${record%/*}"
  for name in $1; do
    grep -qsxF "$name" "$record" || printf '%s\n' "$name" >> "$record"
  done
}

apt_install() { # names
  DEBIAN_FRONTEND=noninteractive
  export DEBIAN_FRONTEND
  set -- $1
  if [ -n "${maw_debs:-}" ]; then
    debs=$(mktemp -d) || return 1
    unpack_debs "$debs" && apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-download --no-install-recommends "$debs"/*.deb
    status=$?
    rm -rf "$debs"
    return "$status"
  fi
  # A failed update is no reason to stop: what is asked for may be in the lists that are there.
  apt-get -q -o Acquire::http::Timeout=20 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120 update ||
    echo 'apt-get update failed'
  apt-get -q -y -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@"
}

unpack_debs() { # maw_debs: NAME BASE64, a line each
  printf '%s\n' "$maw_debs" | while read -r name content; do
    [ -n "$name" ] || continue
    printf %s "$content" | base64 -d > "$1/$name" || return 1
  done
}

# --- sshd -------------------------------------------------------------------------------------------------

host_keys() {
  if [ "${maw_new_host_keys:-no}" = yes ] && [ -e "$host_key" ] && [ ! -e "$state/host-keys" ]; then
    new_keys=true
    note 'new host keys'
    looks && return
    mkdir -p "$state"
    mkdir -m 700 -p "$state/host-keys-before"
    for one in /etc/ssh/ssh_host_*; do mv "$one" "$state/host-keys-before/"; done
  fi
  if [ ! -s "$host_key" ] || [ ! -s "${host_key%.pub}" ]; then
    "$new_keys" || { lacks 'a host key'; note 'host keys'; }
    looks && return
    was=$(ls /etc/ssh/ssh_host_* 2> /dev/null)
    # An empty or half one, of a run that was killed, would stay as it is.
    rm -f "$host_key" "${host_key%.pub}"
    said=$(ssh-keygen -q -A 2>&1) ||
      stop "host keys cannot be made: $said" "In the distro, as root: ssh-keygen -A."
    for one in /etc/ssh/ssh_host_*; do
      printf '%s\n' "$was" | grep -qxF "$one" || remember "$one"
    done
    missing=$(printf '%s\n' "$missing" | grep -vxF 'a host key')
  fi
  if "$new_keys"; then date +%s > "$state/host-keys"; fi
}

run_folder() {
  if ! grep -qsE '^d[!+=~^-]*[[:space:]]+/(var/)?run/sshd([[:space:]]|$)' /etc/tmpfiles.d/*.conf \
    /usr/lib/tmpfiles.d/*.conf; then
    note "$tmpfiles"
    looks || {
      folder /etc/tmpfiles.d 755
      keep "$tmpfiles"
      echo 'd /run/sshd 0755 root root -' | put "$tmpfiles" 644 || exit 1
    }
  fi
  if [ ! -d "/run/sshd" ]; then
    note /run/sshd
    looks || mkdir -p -m 755 "/run/sshd"
  elif [ -n "$(find "/run/sshd" -maxdepth 0 \( -perm -020 -o -perm -002 -o ! -user 0 \))" ]; then
    note 'rights of /run/sshd'
    looks || { chown 0:0 "/run/sshd" && chmod 755 "/run/sshd"; }
  fi
}

ours() { # whether all that a bridge.conf says is what we say, whatever its line ends
  sed 's/\r$//; s/^\xef\xbb\xbf//; s/^[[:space:]]*//; s/[[:space:]]*$//; /^#/d; /^$/d' "$1" | {
    while IFS= read -r one; do
      bridge_lines | grep -qxiF "$one" || exit 1
    done
  }
}

settings() {
  if [ -e "$bridge" ] && bridge_lines | cmp -s - "$bridge"; then
    return
  fi
  if [ -e "$bridge" ] && ! ours "$bridge"; then
    warn "$bridge is not maw's, and stays as it is"
    return
  fi
  note "$bridge"
  looks && return
  folder /etc/ssh/sshd_config.d 755
  keep "$bridge"
  bridge_lines | put "$bridge" 644 || exit 1
}

undo_settings() { # what was there before, or nothing
  if [ -e "$bridge.before-maw" ]; then
    mv -f "$bridge.before-maw" "$bridge"
  elif grep -qsxF "$bridge" "$made"; then
    rm -f "$bridge"
  fi
}

configured() { # what sshd makes of its configuration for root, who comes without an address
  "$sshd" "$1" \
    -C user=root,host=UNKNOWN,addr=UNKNOWN,laddr=UNKNOWN,lport=65535 2>&1
}

value() { printf '%s\n' "$effective" | sed -n "s/^$1 //p"; }

matches() { # whether one of these patterns is root, who comes from nowhere
  set -f
  for one in $1; do
    case root in $one) set +f && return ;; esac
    case root@UNKNOWN in $one) set +f && return ;; esac
  done
  set +f
  return 1
}

against() { # conflicts, a line each: a keyword, its value, and why
  for word in pubkeyauthentication allowtcpforwarding allowstreamlocalforwarding; do
    [ "$(value $word)" = yes ] || echo "$word $(value $word)"
  done
  case $(value permitrootlogin) in yes | without-password | prohibit-password) ;; *) echo "permitrootlogin $(value permitrootlogin)" ;; esac
  case " $(value authorizedkeysfile) " in *" .ssh/authorized_keys "* | *' %h/.ssh/authorized_keys '* | *' /root/.ssh/authorized_keys '*) ;; *) echo "authorizedkeysfile $(value authorizedkeysfile)" ;; esac
  case $(value authenticationmethods) in any | publickey) ;; *) echo "authenticationmethods $(value authenticationmethods)" ;; esac
  for word in forcecommand chrootdirectory; do
    [ "$(value $word)" = none ] || echo "$word $(value $word)"
  done
  [ "$(value disableforwarding)" != yes ] || echo 'disableforwarding yes'
  value subsystem | grep -q '^sftp ' || echo 'subsystem sftp is missing'
  for word in allowusers allowgroups; do
    listed=$(value $word | tr '\n' ' ')
    [ -z "$listed" ] || matches "$listed" || echo "$word $listed"
  done
  for word in denyusers denygroups; do
    listed=$(value $word | tr '\n' ' ')
    ! matches "$listed" || echo "$word $listed"
  done
  return 0
}

where() { # keyword -> the places where it is set
  grep -inE "^[[:space:]]*$1[[:space:]=]" /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf 2> /dev/null |
    cut -d: -f1,2 | tr '\n' ' '
}

check_sshd() {
  [ -x "$sshd" ] || return 0
  [ -s "$host_key" ] || return 0
  if ! said=$("$sshd" -t 2>&1); then
    # Before the folder is there, sshd says nothing else.
    looks && case $said in *'privilege separation directory'*) return 0 ;; esac
    looks || undo_settings
    stop "sshd does not like its configuration: $said" 'In the distro, as root, mend what it names until `/usr/sbin/sshd -t` says nothing. Then run this again.'
  fi
  effective=$(configured -T) ||
    stop "sshd cannot tell its configuration for root: $effective" 'In the distro, as root, mend what it names, then run this again.'
  conflicts=$(against)
  if [ -n "$conflicts" ]; then
    looks || undo_settings
    places=
    for word in $(printf '%s\n' "$conflicts" | cut -d' ' -f1); do places="$places$(where "$word")"; done
    stop "its sshd has settings of its own that keep the bridge out: $(printf %s "$conflicts" | tr '\n' ';')" \
      "maw does not change them. Mend them for root (see ${places:-/etc/ssh/sshd_config}), or let them be behind a Match that root does not meet, then run this again."
  fi
  [ "$(value maxsessions)" -ge 10 ] || warn "MaxSessions is $(value maxsessions): commands wait for one another"
  for word in passwordauthentication kbdinteractiveauthentication; do
    [ "$(value $word)" = no ] || looks || warn "$word is still $(value $word), set in $(where $word)"
  done
}

# --- the key ----------------------------------------------------------------------------------------------

with_key() { # the file's content with the line; all others as they are
  line=$maw_key awk '
    BEGIN {
      line = ENVIRON["line"]; count = split(line, words, " "); blob = ""
      for (i = 1; i < count; i++) if (words[i] ~ /^(ssh|ecdsa|sk)-/) { blob = words[i + 1]; break }
      beginning = substr(line, 1, index(line, blob) + length(blob) - 1)
      removing = ENVIRON["removing"] == "yes"
    }
    {
      plain = $0; sub(/\r$/, "", plain); sub(/[ \t]+$/, "", plain)
      bare = plain; sub(/^\357\273\277/, "", bare); sub(/^[ \t]+/, "", bare)
      place = index(bare, blob); after = substr(bare, place + length(blob), 1)
      if (!place || bare ~ /^#/ || (after != "" && after != " " && after != "\t")) { print; next }
      if (removing || done++) next
      if (index(plain, beginning) == 1) print; else print line
    }
    END { if (!removing && !done) print line }
  '
}

key() {
  [ -n "${maw_key:-}" ] || return 0
  if [ -n "$(find "$home" -maxdepth 0 \( -perm -020 -o -perm -002 -o ! -user 0 \))" ]; then
    stop "others than root may write to /root, so that sshd refuses its keys" \
      'In the distro, as root: chown root:root /root; chmod go-w /root. Then run this again.'
  fi
  target=$(readlink -f "$keys") || target=$keys
  content=$(mktemp) || stop 'no file can be made in /tmp' "See that the distro's disk is not full: df /."
  if [ -e "$target" ]; then with_key < "$target" > "$content"; else with_key < /dev/null > "$content"; fi
  if ! cmp -s "$content" "$target"; then
    note "$keys"
    if ! looks; then
      folder /root/.ssh 700
      [ -e "$target" ] || remember "$keys"
      put "$target" 600 < "$content"
    fi
  fi
  rm -f "$content"
  for one in "$home/.ssh" "$target"; do
    [ -e "$one" ] || continue
    [ -n "$(find "$one" -maxdepth 0 \( -perm -020 -o -perm -002 -o ! -user 0 \))" ] || continue
    note "rights of $one"
    looks || { chown 0:0 "$one" && chmod go-w "$one"; }
  done
}

# --- wsl.conf: merged on the core, written here ------------------------------------------------------------

wsl_conf() {
  file=/etc/wsl.conf
  if [ -n "${maw_conf_sum:-}" ]; then
    sum=missing
    [ ! -e "$file" ] || sum=$(sha256sum < "$file" | cut -d' ' -f1)
    [ "$sum" = "$maw_conf_sum" ] || stop '/etc/wsl.conf was changed meanwhile' 'Run this again.'
    note /etc/wsl.conf
    if ! looks; then
      keep "$file"
      printf %s "$maw_conf" | base64 -d | put "$file" 644 || exit 1
    fi
  fi
  [ ! -e "$file" ] || conf=$(base64 < "$file" | tr -d '\n')
}

# -----------------------------------------------------------------------------------------------------------

main() {
  case $(uname -r) in
    *-Microsoft) stop 'it is a WSL 1, which has no Linux kernel' 'On the notebook: wsl --set-version DISTRO 2. Then run this again.' ;;
  esac
  [ "$(id -u)" = 0 ] || stop 'this is not root' 'Start it with wsl.exe -u root.'
  if [ "$maw_do" = remove ]; then
    remove_all
  else
    packages
    if [ -x "$sshd" ]; then
      run_folder
      host_keys
      settings
      check_sshd
    fi
    key
    wsl_conf
    [ ! -s "$host_key" ] || host=$(cut -d' ' -f1,2 < "$host_key")
  fi
  answer true '' ''
}
