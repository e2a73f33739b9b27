"""What can be wrong between Windows and the greeting of the distro's sshd, by cause."""

from __future__ import annotations

from maw.transport.causes import SSHD_T, Cause

BRIDGE = (
    Cause(
        "no-distro",
        "`banner line contains invalid characters`; wsl.exe says WSL_E_DISTRO_NOT_FOUND, in UTF-16",
        "There is no distro {distro} for {account} ({said}): its name is wrong or in quotes, or it "
        "belongs to another Windows account",
        "On {windows}, as that account, run `wsl.exe -l -v`; put the name as it stands there into "
        "maw_wsl_distro, and the account that sees it into ansible_user of {windows}",
    ),
    Cause(
        "no-distro-at-all",
        "wsl.exe says WSL_E_DEFAULT_DISTRO_NOT_FOUND",
        "There is no distro at all for {account} ({said}); one of another account is invisible to it",
        "On {windows}, as that account, run `wsl.exe --install -d {distro} --no-launch`, or put the account "
        "that has it into ansible_user of {windows}",
    ),
    Cause(
        "no-linux-user",
        "wsl.exe says WSL_E_USER_NOT_FOUND, or Linux exit code 67",
        "wsl.exe found no user root in {distro} ({said})",
        "On {windows} run `wsl.exe -d {distro} -u root --exec /bin/true`; a distro without root must be "
        "imported anew",
    ),
    Cause(
        "no-wsl",
        "wsl.exe says that it is not installed, in UTF-16",
        "Windows has the program wsl.exe, but WSL is not installed ({said})",
        "On {windows}, as administrator, run `wsl.exe --install --no-distribution` and restart it",
    ),
    Cause(
        "no-wsl-exe",
        "`'wsl.exe' is not recognized`, in Windows' language",
        "Windows knows no program wsl.exe ({said})",
        "On {windows} install WSL as the MSI of github.com/microsoft/WSL/releases; if `where.exe wsl` finds "
        "it there, restart the service sshd, which keeps the PATH it began with",
    ),
    Cause(
        "store-wsl",
        "`Access is denied`, or `The file cannot be accessed by the system` (0x80070780)",
        "Windows does not let an SSH session start this wsl.exe ({said}): it is the Microsoft Store's, which "
        "works only at the screen (microsoft/WSL#9231)",
        "On {windows} install the MSI of github.com/microsoft/WSL/releases, 2.5 or newer, over it",
    ),
    Cause(
        "local-system",
        "0x8004032E (WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED)",
        "wsl.exe runs as LocalSystem, to which WSL refuses itself ({said})",
        "Log in to {windows} as the account that owns {distro}: set ansible_user of {windows} to it, and use "
        "no `become: SYSTEM`",
    ),
    Cause(
        "window-station",
        "Wsl/0x800705b3, `requires elevation … interactive window station`",
        "A standard account cannot install a distro over SSH ({said})",
        "Import it instead: `wsl.exe --import {distro} DIRECTORY FILE` with the root file system of "
        "cloud-images.ubuntu.com/wsl needs neither rights nor a screen",
    ),
    Cause(
        "no-virtual-machine",
        "HCS_E_SERVICE_NOT_AVAILABLE, 0x80370102 or 0x80370114",
        "Windows cannot start WSL's virtual machine ({said})",
        "On {windows} switch virtualization on in the firmware and, as administrator, run "
        "`wsl.exe --install --no-distribution`, then restart it",
    ),
    Cause(
        "no-disk",
        "ERROR_SHARING_VIOLATION, or the name of ext4.vhdx",
        "WSL cannot attach the disk of {distro} ({said}): another program holds it, or it is gone",
        "On {windows} run `wsl.exe --shutdown`, end backups and virus scanners that read ext4.vhdx, and try "
        "again",
    ),
    Cause(
        "no-memory",
        "0x800705aa or 0x8007000e",
        "Windows has not enough memory left for WSL ({said})",
        r"On {windows} close what needs it, or set memory= under [wsl2] in C:\Users\{profile}\.wslconfig",
    ),
    Cause(
        "no-sshd",
        "`execvpe(/usr/sbin/sshd) failed: No such file or directory`",
        "{distro} has no sshd ({said})",
        "In {distro}, as root, run `apt install openssh-server rsync`",
    ),
    Cause(
        "no-run-sshd",
        "`Connection closed by UNKNOWN port 65535`; sshd -t: `Missing privilege separation directory`",
        "The folder /run/sshd is missing in {distro}; nothing makes it where no ssh.service runs",
        "In {distro}, as root, run `echo 'd /run/sshd 0755 root root -' > /etc/tmpfiles.d/sshd.conf` and "
        "`systemd-tmpfiles --create`",
    ),
    Cause(
        "run-sshd-open",
        "sshd -t: `/run/sshd must be owned by root and not group or world-writable`",
        "Others than root may write to /run/sshd in {distro}, so that sshd refuses to start",
        "In {distro}, as root, run `chown root:root /run/sshd` and `chmod 755 /run/sshd`",
    ),
    Cause(
        "no-host-keys",
        "`Connection closed by UNKNOWN port 65535`; sshd -t: `no hostkeys available`",
        "{distro} has no host keys that its sshd can use ({said})",
        "In {distro}, as root, run `ssh-keygen -A` (and `chmod 600 /etc/ssh/ssh_host_*_key`), then "
        "`cutter trust {host}`",
    ),
    Cause(
        "no-host-keys-silent",
        "`Connection closed by UNKNOWN port 65535`; the bridge ends with status 1 without a word",
        "The sshd of {distro} ended at once with status 1, which most often means that it has no usable host "
        "keys; else /run/sshd is missing or sshd_config has an error",
        f"On {{windows}} run `{SSHD_T}`, which says which; for the keys `ssh-keygen -A` in {{distro}}, as "
        f"root",
    ),
    Cause(
        "sshd-silent",
        "`Connection closed by UNKNOWN port 65535`; paramiko: `Error reading SSH protocol banner`",
        "The sshd of {distro} ended at once without a word: /run/sshd is missing, it has no host keys, or "
        "sshd_config has an error",
        f"On {{windows}} run `{SSHD_T}`, which says which",
    ),
    Cause(
        "sshd-config",
        "sshd -t: `Bad configuration option`, `terminating`",
        "The sshd_config of {distro} has an error ({said})",
        "Mend that line in {distro}, and check with `/usr/sbin/sshd -t` until it says nothing",
    ),
    Cause(
        "no-sshd-user",
        "sshd -t: `Privilege separation user sshd does not exist`",
        "{distro} has no user sshd ({said})",
        "In {distro}, as root, run `apt install --reinstall openssh-server`",
    ),
    Cause(
        "wsl-arguments",
        "wsl.exe says `Invalid command line argument`",
        "wsl.exe does not understand the options of the bridge ({said}): WSL is too old, or the forced "
        "command of the bridge's key was changed",
        "On {windows} run `wsl.exe --update`, and compare the key's line with `cutter keys show {windows}`",
    ),
    Cause(
        "wsl-says",
        "`banner line contains invalid characters`: UTF-16 text, which only wsl.exe writes",
        "wsl.exe could not start {distro} ({said})",
        "On {windows}, as {account}, run `wsl.exe -d {distro} -u root --exec /bin/true` and mend "
        "what it names",
    ),
    Cause(
        "noise",
        "`banner line contains invalid characters`, though the distro's sshd greets",
        "Something writes to the bridge before the distro's sshd greets ({said}): the profile of the shell "
        "of {windows}, or a warning of wsl.exe",
        r"On {windows} silence it: remove what prints from PowerShell's $PROFILE, make cmd the DefaultShell, "
        r"or mend what wsl.exe warns about in C:\Users\{profile}\.wslconfig",
    ),
    Cause(
        "profile-refused",
        "PowerShell says `running scripts is disabled` or `ExecutionPolicy`",
        "PowerShell on {windows} stumbles over its own profile ({said})",
        "On {windows} remove $PROFILE, allow it by `Set-ExecutionPolicy RemoteSigned`, or make cmd the "
        "DefaultShell",
    ),
    Cause(
        "too-long",
        "`The command line is too long`",
        "The command is longer than the 8191 characters that cmd takes ({said})",
        "Give {distro} a shorter name, and send long arguments on standard input",
    ),
    Cause(
        "no-greeting",
        "text, but no greeting, from the bridge",
        "What came through {windows} is not the greeting of an sshd ({said}; {status})",
        "Compare the bridge key's line with `cutter keys show {windows}`; on {windows} run "
        "`wsl.exe -d {distro} -u root --exec /usr/sbin/sshd -i` and see what it prints before SSH-",
    ),
    Cause(
        "bridge-silent",
        "nothing at all comes within the time",
        "{windows} took the connection, but nothing came from its WSL in time: it sleeps, or {distro} is "
        "just starting, which takes up to a minute",
        "Wake {windows} and try again in a minute; if that does not help, run `wsl.exe --shutdown` there",
    ),
)
