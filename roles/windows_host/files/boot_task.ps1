# maw-script: boot_task
# Makes the task that starts WSL with Windows. As the account that is logged in, which owns the distro, and by
# S4U: no password is stored. (win_scheduled_task wants a password even for S4U, which Windows does not.)
[CmdletBinding(SupportsShouldProcess)]
param (
    [Parameter(Mandatory)][string]$Name,
    # The task's folder, with a backslash at both ends.
    [Parameter(Mandatory)][string]$Folder,
    [Parameter(Mandatory)][string]$Program,
    [Parameter(Mandatory)][string]$Arguments
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
# Windows tells a task's account in several forms, so it stands in the description too.
$description = "Made by maw, and taken away with it. It starts WSL for $($identity.User.Value)."
$task = Get-ScheduledTask -TaskName $Name -TaskPath $Folder -ErrorAction SilentlyContinue
$same = $task -and $task.Description -eq $description -and "$($task.Principal.LogonType)" -eq 'S4U' -and
    "$($task.State)" -ne 'Disabled' -and @($task.Actions).Count -eq 1 -and
    $task.Actions[0].Execute -eq $Program -and $task.Actions[0].Arguments -eq $Arguments
if (-not $same) {
    $Ansible.Changed = $true
    if (-not $Ansible.CheckMode) {
        $made = @{
            Action = New-ScheduledTaskAction -Execute $Program -Argument $Arguments
            Trigger = New-ScheduledTaskTrigger -AtStartup
            Principal = New-ScheduledTaskPrincipal -UserId $identity.Name -LogonType S4U -RunLevel Limited
            Settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit (New-TimeSpan -Minutes 10)
        }
        Register-ScheduledTask -TaskName $Name -TaskPath $Folder -Description $description -Force @made | Out-Null
    }
}
