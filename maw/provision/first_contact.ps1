# maw: first contact with a Windows notebook. Run once, as administrator, in Windows PowerShell 5.1.
# It installs and starts Windows' own SSH server and lets the core's two keys in. Running it again is safe.
# What it does not do: change sshd_config, open a port to others than the core, install WSL.

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# ---- filled in by the core: begin ----
$AdminLine = '@@ADMIN_LINE@@'
$BridgeLine = '@@BRIDGE_LINE@@'
$CoreAddresses = @('@@CORE_ADDRESSES@@' -split ',' | Where-Object { $_ })
$DefaultShell = '@@DEFAULT_SHELL@@'
$Distro = '@@DISTRO@@'
# ---- filled in by the core: end ----

$SshFolder = Join-Path $env:ProgramData 'ssh'
$KeysFile = Join-Path $SshFolder 'administrators_authorized_keys'
$StateFolder = Join-Path $env:ProgramData 'maw'
$StateFile = Join-Path $StateFolder 'state.json'
$Administrators = 'S-1-5-32-544'
$System = 'S-1-5-18'
$TrustedInstaller = 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464'
$RuleName = 'OpenSSH-Server-In-TCP'
$Latin = [Text.Encoding]::GetEncoding(28591)
$Again = ', run Restart-Service sshd, and paste the line again.'
$script:NextStep = 'Paste the line again. If it stops here once more, look up what it says.'

function Stop-Here([string]$Reason, [string]$NextStep) {
    $Again = ', run Restart-Service sshd, and paste the line again.'
$script:NextStep = $NextStep
    throw $Reason
}

function Get-Ascii([string]$Text) {
    $parts = foreach ($one in $Text.ToCharArray()) {
        if ([int]$one -ge 32 -and [int]$one -lt 127) { [string]$one } else { '\u{0:x4}' -f [int]$one }
    }
    -join $parts
}

function Show-Step([string]$Text) {
    [Console]::Out.WriteLine('  ' + (Get-Ascii $Text))
}

function Invoke-Icacls([string[]]$Arguments) {
    & icacls.exe @Arguments | Out-Null
    if ($LASTEXITCODE -ne 0) {
        throw "icacls.exe $Arguments ended with $LASTEXITCODE"
    }
}

function Get-Others([string]$Path, [bool]$MayRead) {
    # Who else may write there, or read, unless that is allowed. sshd refuses such a file without a word.
    $acl = Get-Acl -LiteralPath $Path
    $trusted = @($Administrators, $System, $TrustedInstaller)
    $owner = $acl.GetOwner([Security.Principal.SecurityIdentifier]).Value
    if ($trusted -notcontains $owner) { "owner $owner" }
    # Write and append data, change attributes, delete, change rights, take ownership, and the generic forms.
    $writing = 0x000D0156 -bor 0x50000000
    foreach ($rule in $acl.GetAccessRules($true, $true, [Security.Principal.SecurityIdentifier])) {
        $who = $rule.IdentityReference.Value
        if ($rule.AccessControlType -ne 'Allow' -or $trusted -contains $who) { continue }
        # Holds for what is made within, not for the thing itself.
        if (([int]$rule.PropagationFlags -band 2) -ne 0) { continue }
        if (-not $MayRead -or ([int]$rule.FileSystemRights -band $writing) -ne 0) { $who }
    }
}

function Test-Place {
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object Security.Principal.WindowsPrincipal $identity
    if ($PSVersionTable.PSVersion.Major -ne 5 -or $PSVersionTable.PSVersion.Minor -lt 1) {
        Stop-Here "this is PowerShell $($PSVersionTable.PSVersion), not Windows PowerShell 5.1" 'Start "Windows PowerShell" as administrator and paste the line there.'
    }
    if ([Environment]::Is64BitOperatingSystem -and -not [Environment]::Is64BitProcess) {
        Stop-Here 'this is the 32-bit PowerShell' 'Start "Windows PowerShell" (without x86) as administrator and paste the line there.'
    }
    if (-not $principal.IsInRole((New-Object Security.Principal.SecurityIdentifier $Administrators))) {
        Stop-Here 'this PowerShell does not run as administrator' 'Press the Windows key, type powershell, choose "Run as administrator", and paste the line there.'
    }
    if ($identity.Name -like 'AzureAD\*') {
        Stop-Here 'this account is of Entra ID (Azure AD), which Windows'' SSH server does not let in' 'Make a local account that is administrator, sign in with it, and paste the line there.'
    }
    $identity.Name
}

function Install-Server {
    if (Get-Service -Name sshd -ErrorAction SilentlyContinue) {
        Show-Step 'OpenSSH Server is installed'
        return
    }
    Show-Step 'installing OpenSSH Server: this takes some minutes'
    try {
        $found = @(Get-WindowsCapability -Online -Name 'OpenSSH.Server*')
        if ($found.Count -eq 0) { throw 'this Windows does not offer OpenSSH.Server' }
        $done = Add-WindowsCapability -Online -Name $found[0].Name
    } catch {
        $code = '0x{0:X8}' -f $_.Exception.HResult
        $why = 'Windows Update did not deliver it: see that this notebook reaches the internet'
        if ($code -eq '0x800F0954' -or $code -eq '0x800F0950' -or $code -eq '0x8024002E') {
            $why = 'a policy sends this PC to an update server (WSUS) that lacks it: allow "Download repair content and optional features directly from Windows Update" (gpedit.msc, System)'
        }
        Stop-Here "OpenSSH Server cannot be installed: $($_.Exception.Message) ($code)" "$why. Or install the MSI of github.com/PowerShell/Win32-OpenSSH by hand. Then paste the line again."
    }
    if ($done.RestartNeeded) {
        Stop-Here 'Windows must be restarted to finish the installation of OpenSSH Server' 'Restart the notebook and paste the line again.'
    }
}

function Start-Server {
    Set-Service -Name sshd -StartupType Automatic
    try {
        Start-Service -Name sshd
    } catch {
        $bad = foreach ($folder in $SshFolder, (Join-Path $SshFolder 'logs')) {
            if (Test-Path -LiteralPath $folder) {
                foreach ($who in @(Get-Others $folder $true)) { "$folder ($who)" }
            }
        }
        if ($bad) {
            Stop-Here "sshd does not start, for others may write to $($bad -join ', ')" "Take their rights away: icacls.exe FOLDER /inheritance:r /grant *${Administrators}:(OI)(CI)F *${System}:(OI)(CI)F. Then paste the line again."
        }
        Stop-Here "sshd does not start: $($_.Exception.Message)" 'Look at what it says: Get-WinEvent -LogName OpenSSH/Operational -MaxEvents 5. Then paste the line again.'
    }
    Show-Step 'the service sshd runs, and starts with Windows'
}

function Test-Config {
    # Only looked at, never changed. As in sshd, the first value of a keyword counts.
    $path = Join-Path $SshFolder 'sshd_config'
    $port = 22
    $match = ''
    $number = 0
    $forAdministrators = $false
    $portSeen = $false
    foreach ($text in [IO.File]::ReadAllLines($path)) {
        $number += 1
        if ($text -notmatch '^\s*([A-Za-z]+)[\s=]+(.*?)\s*$') { continue }
        $word = $Matches[1].ToLowerInvariant()
        $value = $Matches[2].Trim('"')
        $here = "line $number of ${path}: $($text.Trim())"
        if ($word -eq 'match') {
            $match = $value.ToLowerInvariant()
            continue
        }
        $ours = $match -eq '' -or $match -eq 'all' -or $match -match '^group\s+"?administrators"?$'
        if (-not $ours) { continue }
        if ($word -eq 'port' -and $match -eq '' -and -not $portSeen) {
            $port = [int]$value
            $portSeen = $true
        }
        if ($word -eq 'pubkeyauthentication' -and $value -eq 'no') {
            Stop-Here "sshd does not take keys, because of $here" "Put # before that line$Again"
        }
        if ($word -eq 'authenticationmethods' -and $value -notmatch '(^|\s)publickey(\s|$)' -and $value -ne 'any') {
            Stop-Here "a key alone does not log in, because of $here" "Put # before that line$Again"
        }
        if ('allowusers', 'denyusers', 'allowgroups', 'denygroups' -contains $word) {
            Show-Step "NOTE: who may log in is limited by $here"
        }
        if ($word -eq 'authorizedkeysfile' -and -not $forAdministrators) {
            if ($match -like 'group*' -or $match -eq 'all') {
                if ($value -notmatch 'administrators_authorized_keys$') {
                    Stop-Here "administrators' keys are read elsewhere, because of $here" "Name __PROGRAMDATA__/ssh/administrators_authorized_keys there$Again"
                }
                $forAdministrators = $true
            }
        }
    }
    if (-not $forAdministrators) {
        Stop-Here "$path has no AuthorizedKeysFile under 'Match Group administrators'" "Add the two at its end, with __PROGRAMDATA__/ssh/administrators_authorized_keys$Again"
    }
    $port
}

function Save-Before {
    # What was here before the first change, for the role that takes maw away again. Kept, never replaced.
    if (-not (Test-Path -LiteralPath $StateFolder)) { New-Item -ItemType Directory -Path $StateFolder | Out-Null }
    if (@(Get-Others $StateFolder $false)) {
        Invoke-Icacls $StateFolder, '/setowner', "*$Administrators"
        Invoke-Icacls $StateFolder, '/reset'
        Invoke-Icacls $StateFolder, '/inheritance:r', '/grant', "*${Administrators}:(OI)(CI)F", '/grant', "*${System}:(OI)(CI)F"
    }
    if (Test-Path -LiteralPath $StateFile) { return }
    $shell = (Get-Item -Path 'HKLM:\SOFTWARE\OpenSSH' -ErrorAction SilentlyContinue | ForEach-Object { $_.GetValue('DefaultShell') })
    $firewall = $null
    $rule = Get-NetFirewallRule -Name $RuleName -ErrorAction SilentlyContinue
    if ($rule) {
        $firewall = @{
            enabled = "$($rule.Enabled)" -eq 'True'
            profile = "$($rule.Profile)"
            addresses = @(($rule | Get-NetFirewallAddressFilter).RemoteAddress)
        }
    }
    $state = @{ version = 1; before = @{ default_shell = "$shell"; firewall = $firewall }; distros = @{} }
    [IO.File]::WriteAllText("$StateFile.new", (ConvertTo-Json -InputObject $state -Depth 6))
    Move-Item -LiteralPath "$StateFile.new" -Destination $StateFile
}

function Write-Keys {
    $old = ''
    $exists = Test-Path -LiteralPath $KeysFile
    if ($exists) { $old = $Latin.GetString([IO.File]::ReadAllBytes($KeysFile)) }
    if ($old.Contains([string][char]0)) {
        Stop-Here "$KeysFile is in UTF-16, which sshd cannot read" 'Open it in Notepad, save it with the encoding UTF-8, and paste the line again.'
    }
    $new = ''
    $blobs = foreach ($line in $AdminLine, $BridgeLine) { [regex]::Match($line, 'AAAA[A-Za-z0-9+/=]+').Value }
    foreach ($line in [regex]::Matches($old, '[^\n]*\n|[^\n]+')) {
        $text = $line.Value
        $mine = $text -match '^[^#].*\smaw-(admin|bridge)\s*$'
        foreach ($blob in $blobs) {
            if ($text -notmatch '^\s*#' -and $text.Contains($blob)) { $mine = $true }
        }
        if (-not $mine) { $new += $text }
    }
    if ($new -and -not $new.EndsWith("`n")) { $new += "`n" }
    $new += "$AdminLine`n$BridgeLine`n"
    if ($exists -and $new -ceq $old -and -not @(Get-Others $KeysFile $false)) {
        Show-Step 'the core''s keys are there'
        return
    }
    # Beside it first, with its rights: sshd never sees half a file, or one that others may write.
    $beside = "$KeysFile.maw-new"
    [IO.File]::WriteAllBytes($beside, $Latin.GetBytes($new))
    Invoke-Icacls $beside, '/inheritance:r', '/grant', "*${Administrators}:F", '/grant', "*${System}:F"
    Invoke-Icacls $beside, '/setowner', "*$Administrators"
    Move-Item -LiteralPath $beside -Destination $KeysFile -Force
    if ($Latin.GetString([IO.File]::ReadAllBytes($KeysFile)) -cne $new) { throw "$KeysFile is not what was written" }
    $others = @(Get-Others $KeysFile $false)
    if ($others) { throw "others have rights on ${KeysFile}: $($others -join ', ')" }
    Show-Step "the core's keys were written to $KeysFile"
}

function Set-Rule([int]$Port) {
    if ($CoreAddresses.Count -eq 0) {
        Show-Step 'NOTE: the core gave no addresses, the firewall rule stays as it is'
        return
    }
    if (Get-NetFirewallRule -Name $RuleName -ErrorAction SilentlyContinue) {
        Set-NetFirewallRule -Name $RuleName -RemoteAddress $CoreAddresses -Profile Any -Enabled True -Action Allow
    } else {
        New-NetFirewallRule -Name $RuleName -DisplayName 'OpenSSH SSH Server (sshd)' -Direction Inbound -Protocol TCP -LocalPort $Port -RemoteAddress $CoreAddresses -Profile Any -Enabled True -Action Allow | Out-Null
    }
    Show-Step "the firewall's rule for SSH lets in $($CoreAddresses -join ', ') alone"
}

function Set-Shell {
    $shells = @{
        cmd = Join-Path $env:SystemRoot 'System32\cmd.exe'
        powershell = Join-Path $env:SystemRoot 'System32\WindowsPowerShell\v1.0\powershell.exe'
    }
    if (-not (Test-Path -Path 'HKLM:\SOFTWARE\OpenSSH')) { New-Item -Path 'HKLM:\SOFTWARE\OpenSSH' -Force | Out-Null }
    New-ItemProperty -Path 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -Value $shells[$DefaultShell] -PropertyType String -Force | Out-Null
    Show-Step "SSH starts $($shells[$DefaultShell])"
}

function Test-Server([int]$Port) {
    $program = (Get-CimInstance -ClassName Win32_Service -Filter "Name='sshd'").PathName.Trim('"')
    # Within cmd, for PowerShell makes an error of each line on standard error.
    $said = @(& cmd.exe /d /c "`"$program`" -t 2>&1")
    if ($LASTEXITCODE -ne 0) {
        Stop-Here "sshd finds a mistake: $($said -join ' ')" "Correct that line in $SshFolder\sshd_config and paste the line again."
    }
    $client = New-Object Net.Sockets.TcpClient
    try {
        $client.Connect('127.0.0.1', $Port)
        $client.ReceiveTimeout = 10000
        $greeting = (New-Object IO.StreamReader $client.GetStream()).ReadLine()
    } finally {
        $client.Close()
    }
    if ("$greeting" -notlike 'SSH-2.0-*') { throw "port $Port does not greet as an SSH server" }
    Show-Step "sshd greets: $greeting"
}

function Write-HandOver([string]$Account, [int]$Port) {
    $name = $env:COMPUTERNAME
    $lines = @('# For the core: cutter trust NAME --from FILE', "# computer: $(Get-Ascii $name)", "# account: $(Get-Ascii $Account)", "# port: $Port", "# shell: $DefaultShell", "# distro: $Distro")
    [Console]::Out.WriteLine('')
    [Console]::Out.WriteLine("Account for ansible_user: $(Get-Ascii $Account)")
    $found = @(Get-ChildItem -LiteralPath $SshFolder -Filter 'ssh_host_*_key.pub' | Sort-Object Name)
    if ($found.Count -eq 0) { throw "there are no host keys in $SshFolder" }
    foreach ($file in $found) {
        $words = [IO.File]::ReadAllText($file.FullName).Trim() -split '\s+'
        $hash = [Security.Cryptography.SHA256]::Create().ComputeHash([Convert]::FromBase64String($words[1]))
        [Console]::Out.WriteLine("Host key: SHA256:$([Convert]::ToBase64String($hash).TrimEnd('=')) $($words[0])")
        $lines += "$($words[0]) $($words[1])"
    }
    $desktop = [Environment]::GetFolderPath('Desktop')
    if (-not $desktop) { $desktop = $StateFolder }
    $path = Join-Path $desktop "maw-$name.txt"
    [IO.File]::WriteAllText($path, ($lines -join "`n") + "`n", [Text.Encoding]::ASCII)
    [Console]::Out.WriteLine("Hand-over file: $(Get-Ascii $path)")
}

try {
    [Console]::Out.WriteLine('maw: first contact')
    $account = (Test-Place).Split('\')[-1].ToLowerInvariant()
    Install-Server
    Start-Server
    $port = Test-Config
    Save-Before
    Write-Keys
    Set-Rule $port
    Set-Shell
    Test-Server $port
    Write-HandOver $account $port
    [Console]::Out.WriteLine('')
    [Console]::Out.WriteLine('DONE. On the core, compare the host key, and go on with: cutter satellite-init')
    exit 0
} catch {
    [Console]::Out.WriteLine('')
    [Console]::Out.WriteLine('NOT DONE: ' + (Get-Ascii "$($_.Exception.Message)"))
    [Console]::Out.WriteLine('Next step: ' + (Get-Ascii $script:NextStep))
    exit 1
}
