# maw-script: firewall
# Lets the rule of Windows' SSH server hold for the core's addresses alone, on every kind of network.
[CmdletBinding(SupportsShouldProcess)]
param (
    [Parameter(Mandatory)][string[]]$Addresses
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $true

# By its name, which is in no language; its display name is translated.
$name = 'OpenSSH-Server-In-TCP'
if (-not $Ansible.CheckMode) {
    if (Get-NetFirewallRule -Name $name -ErrorAction SilentlyContinue) {
        Set-NetFirewallRule -Name $name -RemoteAddress $Addresses -Profile Any -Enabled True -Action Allow
    } else {
        New-NetFirewallRule -Name $name -DisplayName 'OpenSSH SSH Server (sshd)' -Direction Inbound -Protocol TCP -LocalPort 22 -RemoteAddress $Addresses -Profile Any -Enabled True -Action Allow | Out-Null
    }
}
