# Tells what of the user's runs in a WSL distro, for stopping it would end that too. Prints one line, JSON.
# WSL itself keeps a log-in of the default user: what descends from `login` is nobody's work.

set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

processes() { # pid, parent, has a terminal, user, container, name
  for folder in /proc/[0-9]*; do
    # It may be gone by now.
    { read -r line < "$folder/stat"; } 2> /dev/null || continue
    user=$(stat -c %u "$folder" 2> /dev/null) || continue
    name=${line#*\(}
    name=$(printf %s "${name%\)*}" | tr -cd 'A-Za-z0-9._/-')
    set -- ${line##*\) }
    container=$(sed -n 's/^.*\/lxc\.payload\.\([A-Za-z0-9-]*\).*$/\1/p' "$folder/cgroup" 2> /dev/null | head -n 1)
    echo "${folder#/proc/} $2 $5 $user ${container:--} ${name:--}"
  done
}

main() {
  processes | awk '
    { parent[$1] = $2; terminal[$1] = $3; user[$1] = $4; container[$1] = $5; name[$1] = $6; order[NR] = $1 }
    function of_login(pid,  steps) {
      for (steps = 0; pid in parent && steps < 100; steps++) {
        if (name[pid] == "login") return 1
        pid = parent[pid]
      }
      return 0
    }
    function tell(text) { if (!(text in told)) { told[text] = 1; printf "%s\"%s\"", comma, text; comma = "," } }
    END {
      printf "{\"schema\":\"maw.busy/1\",\"busy\":["
      for (i = 1; i <= NR; i++) {
        pid = order[i]
        if (container[pid] != "-") { tell("the container " container[pid]); continue }
        if (name[pid] ~ /^(systemd|sd-pam|dbus-daemon|agetty)$/ || of_login(pid)) continue
        if (terminal[pid] != 0) tell(name[pid] " in a terminal")
        else if (user[pid] >= 1000 && user[pid] < 60000) tell(name[pid] " of user " user[pid])
      }
      print "]}"
    }
  '
}
