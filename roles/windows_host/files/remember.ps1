# maw-script: remember
# Writes what was here before the first change into the state file; what is in it already stays.
[CmdletBinding(SupportsShouldProcess)]
param (
    [Parameter(Mandatory)][string]$StateFile,
    # What was here: a name and anything that JSON can hold.
    [System.Collections.IDictionary]$Before = @{},
    # A distro that is maw's, and its folder; it is known by both.
    [string]$Distro = '',
    [string]$DistroFolder = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

function Add-Missing($Target, [string]$Name, $Value) {
    if (-not $Target.PSObject.Properties[$Name]) {
        $Target | Add-Member -MemberType NoteProperty -Name $Name -Value $Value
        $Ansible.Changed = $true
    }
}

$folder = Split-Path -Path $StateFile -Parent
if (Test-Path -LiteralPath $StateFile) {
    $state = [IO.File]::ReadAllText($StateFile) | ConvertFrom-Json
} else {
    $state = New-Object PSObject
}
Add-Missing $state 'version' 1
Add-Missing $state 'before' (New-Object PSObject)
Add-Missing $state 'distros' (New-Object PSObject)
foreach ($name in $Before.Keys) { Add-Missing $state.before $name $Before[$name] }
if ($Distro) {
    $known = $state.distros.PSObject.Properties[$Distro]
    if ($known -and $known.Value.folder -ne $DistroFolder) { $state.distros.PSObject.Properties.Remove($Distro) }
    Add-Missing $state.distros $Distro @{ folder = $DistroFolder }
}
if ($Ansible.Changed -and -not $Ansible.CheckMode) {
    if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
    # Anybody may make folders in ProgramData: this one belongs to Administrators and SYSTEM alone.
    foreach ($arguments in '/setowner *S-1-5-32-544', '/reset', '/inheritance:r /grant *S-1-5-32-544:(OI)(CI)F /grant *S-1-5-18:(OI)(CI)F') {
        $said = & cmd.exe /d /c "icacls.exe `"$folder`" $arguments 2>&1"
        if ($LASTEXITCODE -ne 0) { throw "icacls.exe $arguments says of ${folder}: $said" }
    }
    [IO.File]::WriteAllText("$StateFile.new", (ConvertTo-Json -InputObject $state -Depth 8))
    Move-Item -LiteralPath "$StateFile.new" -Destination $StateFile -Force
}
