# maw-script: farewell
# The last step of removing: what the connection itself depends on, all in one, for the next command may
# meet another shell and another firewall.
[CmdletBinding(SupportsShouldProcess)]
param (
    [Parameter(Mandatory)][string]$StateFile,
    # The shell of before; empty means that none was set.
    [string]$DefaultShell = '',
    # The firewall's rule of before: enabled, profile, addresses; empty means that it is left as it is.
    [System.Collections.IDictionary]$Firewall = @{}
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $true
if ($Ansible.CheckMode) { return }

$rule = 'OpenSSH-Server-In-TCP'
if ($Firewall.Count -gt 0 -and (Get-NetFirewallRule -Name $rule -ErrorAction SilentlyContinue)) {
    $enabled = 'False'
    if ($Firewall['enabled']) { $enabled = 'True' }
    Set-NetFirewallRule -Name $rule -RemoteAddress @($Firewall['addresses']) -Profile $Firewall['profile'] -Enabled $enabled
}
if ($DefaultShell) {
    New-ItemProperty -Path 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -Value $DefaultShell -PropertyType String -Force | Out-Null
} else {
    Remove-ItemProperty -Path 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -ErrorAction SilentlyContinue
}
# With it goes the memory of what was here, so it goes last.
Remove-Item -LiteralPath (Split-Path -Path $StateFile -Parent) -Recurse -Force
