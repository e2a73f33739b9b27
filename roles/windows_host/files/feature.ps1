# maw-script: feature
# Enables the optional feature that WSL 2 needs, without a restart.
[CmdletBinding(SupportsShouldProcess)]
param ()

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

$feature = Get-WindowsOptionalFeature -Online -FeatureName VirtualMachinePlatform
if (-not $feature) { throw 'this Windows has no optional feature VirtualMachinePlatform' }
$restart = "$($feature.State)" -eq 'EnablePending'
if ("$($feature.State)" -ne 'Enabled' -and -not $restart) {
    $Ansible.Changed = $true
    if (-not $Ansible.CheckMode) {
        $done = Enable-WindowsOptionalFeature -Online -FeatureName VirtualMachinePlatform -All -NoRestart
        $restart = [bool]$done.RestartNeeded
    }
}
$Ansible.Result = @{ restart_needed = $restart }
