# maw-script: power
# Sets what happens on mains: minutes are given in seconds, 0 is never; -1 leaves a setting alone.
[CmdletBinding(SupportsShouldProcess)]
param (
    [int64]$Standby = -1,
    [int64]$Hibernate = -1,
    # 0 is nothing, 1 sleep, 2 hibernate, 3 shut down.
    [int64]$Lid = -1
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

function Invoke-Powercfg([string]$Arguments) {
    # Within cmd, for PowerShell makes an error of each line on standard error.
    $said = & cmd.exe /d /c "powercfg.exe $Arguments 2>&1"
    if ($LASTEXITCODE -ne 0) { throw "powercfg.exe $Arguments says: $said" }
}

$wanted = @(
    @('SUB_SLEEP', 'STANDBYIDLE', $Standby),
    @('SUB_SLEEP', 'HIBERNATEIDLE', $Hibernate),
    @('SUB_BUTTONS', 'LIDACTION', $Lid)
)
foreach ($one in $wanted) {
    if ($one[2] -lt 0) { continue }
    $Ansible.Changed = $true
    if (-not $Ansible.CheckMode) { Invoke-Powercfg "/setacvalueindex SCHEME_CURRENT $($one[0]) $($one[1]) $($one[2])" }
}
if ($Ansible.Changed -and -not $Ansible.CheckMode) { Invoke-Powercfg '/setactive SCHEME_CURRENT' }
