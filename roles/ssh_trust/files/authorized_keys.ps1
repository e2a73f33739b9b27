# maw-script: authorized-keys
# Looks at Windows' file of keys, or replaces it as a whole, with the rights that sshd insists on. Groups go by
# their SIDs, for their names are in the language of that Windows.
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory = $true)][string]$Path,
    # look, write or delete.
    [Parameter(Mandatory = $true)][string]$Action,
    # What it shall hold, in base64.
    [string]$Content = '',
    # The sha256 of what it holds now; missing if there is no such file.
    [string]$Expected = ''
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false
$Administrators = 'S-1-5-32-544'
$System = 'S-1-5-18'

function Get-Sum {
    if (-not (Test-Path -LiteralPath $Path -PathType Leaf)) { return 'missing' }
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash([IO.File]::ReadAllBytes($Path))
    [BitConverter]::ToString($hash).Replace('-', '').ToLowerInvariant()
}

function Invoke-Icacls([string[]]$Arguments) {
    & icacls.exe @Arguments | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "icacls.exe $Arguments ended with $LASTEXITCODE" }
}

function Set-Rights([string]$File) {
    Invoke-Icacls $File, '/setowner', "*$Administrators"
    Invoke-Icacls $File, '/reset'
    Invoke-Icacls $File, '/inheritance:r', '/grant', "*${Administrators}:F", '/grant', "*${System}:F"
}

if ($Action -ne 'look') {
    if ((Get-Sum) -ne $Expected) { throw "$Path was changed meanwhile. Run this again." }
    $Ansible.Changed = $true
    if (-not $Ansible.CheckMode -and $Action -eq 'delete') {
        Remove-Item -LiteralPath $Path -Force
    } elseif (-not $Ansible.CheckMode) {
        # Beside it first, with its rights: sshd never sees half a file, or one that others may write.
        $beside = "$Path.maw-$([Guid]::NewGuid().ToString('N').Substring(0, 8))"
        try {
            [IO.File]::WriteAllBytes($beside, [Convert]::FromBase64String($Content))
            Set-Rights $beside
            if ($Expected -eq 'missing') {
                [IO.File]::Move($beside, $Path)
            } else {
                # In one step; the file keeps the rights that it had, so that they are set again.
                [IO.File]::Replace($beside, $Path, [NullString]::Value, $true)
                Set-Rights $Path
            }
        } finally {
            if (Test-Path -LiteralPath $beside) { Remove-Item -LiteralPath $beside -Force }
        }
    }
}

$exists = Test-Path -LiteralPath $Path -PathType Leaf
$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
$groups = @($identity.Groups | ForEach-Object { $_.Value })
$Ansible.Result = @{
    exists = $exists
    content = $(if ($exists) { [Convert]::ToBase64String([IO.File]::ReadAllBytes($Path)) } else { '' })
    sddl = $(if ($exists) { (Get-Acl -LiteralPath $Path).Sddl } else { '' })
    sid = $identity.User.Value
    administrator = $groups -contains $Administrators
}
