"""What can be wrong with the way to a host, and what makes a way that works fail later, by cause."""

from __future__ import annotations

from maw.transport.causes import ACL, Cause

WAY = (
    Cause(
        "outer-refused",
        "`Permission denied (publickey)` on the outer hop, though the key is surely installed",
        "Windows refuses the key ({said}): it is not in administrators_authorized_keys, or somebody else "
        "than Administrators and SYSTEM may write to that file, so that Windows ignores it without a word, "
        r"or the account is an administrator and the key is in its profile (.ssh\authorized_keys), which "
        "then does not count",
        f"On {{windows}}, as administrator, put in the lines of `cutter keys show {{windows}}`, then run "
        f"{ACL}",
    ),
    Cause(
        "keys-acl",
        "`Permission denied (publickey)` on the outer hop; icacls shows a further principal that may write",
        r"Windows ignores administrators_authorized_keys, for others may write to it ({said})",
        f"On {{windows}}, as administrator, run {ACL}",
    ),
    Cause(
        "bridge-key-missing",
        "`Permission denied (publickey)` for the bridge's key only; the file does not list it",
        "The bridge's key is not in the file of keys that {windows} reads for this account ({said})",
        "Put in the line of `cutter keys show {windows}`",
    ),
    Cause(
        "bridge-key-in-profile",
        "`Permission denied (publickey)` for the bridge's key only; the account is an administrator",
        r"The bridge's key is in the account's profile (.ssh\authorized_keys), which does not count for "
        "administrators of {windows}",
        r"Move that line to C:\ProgramData\ssh\administrators_authorized_keys",
    ),
    Cause(
        "bridge-key-from",
        "`Permission denied (publickey)` for the bridge's key only; its line has from=",
        "The bridge's key is listed on {windows}, for connections from {said} only",
        "Correct from= in that line to the address that this machine has towards {windows}, see "
        "`cutter keys show {windows}`",
    ),
    Cause(
        "inner-refused",
        "`Permission denied (publickey)` from the distro, after Windows let the bridge in",
        "The sshd of the distro refuses the bridge's key ({said}): it is not in ~root/.ssh/authorized_keys, "
        "its line there has from= (which can never match, for over the bridge the peer has no address), or "
        "others may write to ~root or ~root/.ssh",
        "Put in the line that `cutter keys show {host}` prints for the distro; `chmod 700 ~root ~root/.ssh`, "
        "`chmod 600 ~root/.ssh/authorized_keys`",
    ),
    Cause(
        "refused",
        "`Permission denied (publickey)`",
        "{host} refuses the key for {user} ({said})",
        "Put this machine's public key into that user's authorized_keys there, and check that only the user "
        "may write to that file and its folders",
    ),
    Cause(
        "too-many-keys",
        "`Too many authentication failures`",
        "The far side ended the log-in before the right key was tried ({said}): an agent offers others first",
        "Give the host ansible_ssh_private_key_file, or make the cluster's own keys with `cutter keys make`",
    ),
    Cause(
        "key-file-open",
        "`UNPROTECTED PRIVATE KEY FILE`",
        "ssh ignores a private key that others may read ({said})",
        "Run `chmod 600` on it; keep keys on a Linux file system, not below /mnt/c",
    ),
    Cause(
        "key-file-bad",
        "`Load key … invalid format`, `no such identity`",
        "A private key cannot be used ({said})",
        "Check the path in the inventory or in maw.toml; `ssh-keygen -y -f FILE` must print its public half",
    ),
    Cause(
        "host-key-changed",
        "`REMOTE HOST IDENTIFICATION HAS CHANGED`",
        "{host} shows another host key than the pinned one",
        "If it was installed anew, compare the fingerprint at its own screen, then `cutter trust {host} "
        "--fingerprint SHA256:…`; if not, stop: another machine answers",
    ),
    Cause(
        "host-key-unknown",
        "`No … host key is known for …`",
        "The host key of {host} is not pinned, or it shows one of another type only",
        "Compare its fingerprint at its own screen, then `cutter trust {host} --fingerprint SHA256:…`",
    ),
    Cause(
        "host-key-elsewhere",
        "the address shows a host key that is pinned for another host",
        "{address} is now the address of {other}: its host key is the one pinned for that machine",
        "Correct the address of {host} in the inventory, or give it a fixed one in the router",
    ),
    Cause(
        "utf16-greeting",
        "`banner line contains invalid characters`",
        "Text of wsl.exe in UTF-16 came instead of the distro's greeting: the distro's name is wrong or in "
        "quotes, it belongs to another Windows account, or WSL is missing",
        "On {windows}, as the account that logs in, run `wsl.exe -l -v`",
    ),
    Cause(
        "control-path",
        "`ControlPath too long`",
        "The path of the socket for shared connections is longer than the 107 bytes that Linux allows "
        "({said})",
        "Set XDG_RUNTIME_DIR (or TMPDIR) to a folder with a short path",
    ),
    Cause(
        "config-refused",
        "`Bad configuration option`, `Bad owner or permissions on`",
        "ssh refuses its configuration ({said})",
        "Mend what it names; the generated file is made anew by `cutter ssh-config`",
    ),
    Cause(
        "no-common-algorithm",
        "`Unable to negotiate`",
        "The far side's SSH has no method in common with this one ({said})",
        "Update the OpenSSH that is older",
    ),
    Cause(
        "forwarding-refused",
        "`administratively prohibited`",
        "The far side forbids what was asked for with this key ({said})",
        "Compare the options of the key's line with `cutter keys show {host}`",
    ),
    Cause(
        "shell-broken",
        "the log-in works, but commands do not",
        "{host} lets the key in, but its shell does not run a simple command ({said})",
        "Log in by hand with `ssh -F $(cutter ssh-config) {host}` and look at the shell's start-up files",
    ),
    Cause(
        "no-such-name",
        "`Could not resolve hostname`",
        "No machine is known under the name {address} ({said})",
        "Put its address into maw_addresses of {host}",
    ),
    Cause(
        "nothing-listens",
        "`Connection refused`",
        "{address} is there, but no SSH server listens at that port ({said})",
        "On Windows: `Start-Service sshd` and `Set-Service sshd -StartupType Automatic`; on Linux: "
        "`apt install openssh-server`",
    ),
    Cause(
        "no-route",
        "`No route to host`, `Network is unreachable`",
        "There is no way to {address} from here ({said}): it is off, or in another network",
        "Switch it on, or add its VPN address to maw_addresses of {host}",
    ),
    Cause(
        "no-answer",
        "`Connection timed out`",
        "Nothing answers at {address} ({said}): it is off, asleep or elsewhere, or a firewall drops what "
        "comes",
        "Wake it; on Windows check with `Get-NetFirewallRule OpenSSH-Server-In-TCP` that the rule is there "
        "and lets this machine in",
    ),
    Cause(
        "silent",
        "the address takes a connection but does not greet",
        "{address} takes connections, but no SSH server greets there: it is asleep or overloaded, or another "
        "program listens at that port",
        "Wake it, restart its service sshd, and check ansible_port of {host}",
    ),
    Cause(
        "not-ssh",
        "the address greets with something else than SSH-",
        "Another program than an SSH server answers at {address} ({said})",
        "Correct the address or ansible_port of {host} in the inventory",
    ),
    Cause(
        "link-lost",
        "`Broken pipe`, `not responding`, `closed by remote host`",
        "The link broke while it was used ({said}): the machine went to sleep, changed its network, or its "
        "sshd ended",
        "Run the same command again when it is back; if it sleeps in use, change its power plan",
    ),
)

STANDING = (
    Cause(
        "idle-stop",
        "works, and dies about 15 s after the last client",
        "WSL stops {distro} 15 s after its last Windows client, whatever runs in it: {said}",
        r"On {windows}, in C:\Users\{profile}\.wslconfig, set instanceIdleTimeout=-1 under [general] and "
        "vmIdleTimeout=-1 under [wsl2], then run `wsl.exe --shutdown` once",
    ),
    Cause(
        "sign-out",
        "all dies when the person signs out of Windows",
        "The WSL of {account} belongs to the session at the screen ({said}): signing out ends it and all "
        "that runs in it",
        "Start it before anybody signs in: a scheduled task at startup, under that account, that runs "
        "`wsl.exe -d {distro} -u root --exec /bin/true`; or use an account of its own",
    ),
    Cause(
        "exit-code",
        "the exit code is always 1",
        "DefaultShell is PowerShell without `exit $LASTEXITCODE`: every failure of a Windows command ends "
        "with 1. Commands in the distro are not affected, for their codes travel inside SSH",
        r"Make cmd the shell: `reg.exe delete HKLM\SOFTWARE\OpenSSH /v DefaultShell /f` on {windows}, and "
        "ansible_shell_type: cmd in the inventory",
    ),
    Cause(
        "spin",
        "a Python process takes 100 % of a core after the notebook went to sleep",
        "paramiko's own ProxyCommand does not notice the end of the proxy. maw does not use it: it gives "
        "paramiko a socket, and keepalives end a dead link",
        "For scripts of your own use maw's transport, or plain `ssh -F`",
    ),
    Cause(
        "wrong-shell",
        "commands for Windows are read wrongly",
        "Windows' sshd uses {shell} as its shell, the inventory says {said}",
        "Set ansible_shell_type of {windows} to {shell}; the bridge works with both",
    ),
    Cause(
        "no-windows",
        "`echo %OS%` is answered by neither cmd nor PowerShell",
        "What answers at {windows} is no Windows, or its sshd uses another shell ({said})",
        "If it is a Linux, take it out of the group windows; if not, make cmd the DefaultShell",
    ),
    Cause(
        "profile-noise",
        "text stands before the answer of every command",
        "The shell's profile on {windows} prints text ({said})",
        "On {windows} remove what prints from $PROFILE; ssh and maw pass over plain text, other programs may "
        "not",
    ),
    Cause(
        "old-wsl",
        "large inputs stall",
        "WSL {said} is older than 2.5 and can stall on piped input (microsoft/WSL#12523)",
        "On {windows} run `wsl.exe --update`",
    ),
    Cause(
        "wsl-1",
        "no LXD, no systemd",
        "{distro} is a distro of WSL 1, which has no Linux kernel",
        "On {windows} run `wsl.exe --set-version {distro} 2`",
    ),
    Cause(
        "clock",
        "certificates are refused, files seem to be of the future",
        "The clocks differ: {said}",
        "Set the wrong one; in WSL `hwclock -s` as root, or `wsl.exe --shutdown` on Windows",
    ),
    Cause(
        "same-machine",
        "two names of the inventory lead to one machine",
        "{host} and {other} are one machine: {said}",
        "Delete one of them from the inventory, or correct its address",
    ),
    Cause(
        "example",
        "the inventory still has the example's address",
        "{host} still has the example's address {address}",
        "Put in your own address in the inventory and delete the line maw_example",
    ),
    Cause(
        "folder-open",
        "`is not a private folder of this user`",
        "{said}",
        "Remove that folder, or run `chmod 700` on it if it is yours",
    ),
    Cause(
        "no-program",
        "`the ssh program is not installed here`",
        "This machine has no {said}",
        "Run `apt install openssh-client` here",
    ),
)
