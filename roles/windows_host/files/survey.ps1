# maw-script: survey
# Looks at all that the role decides by, in one go, and changes nothing.
[CmdletBinding(SupportsShouldProcess)]
param (
    [string[]]$Urls = @(),
    [string]$Proxy = '',
    [string]$StateFile = 'C:\ProgramData\maw\state.json'
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

function Get-RegistryValue([string]$Path, [string]$Name) {
    $key = Get-Item -Path $Path -ErrorAction SilentlyContinue
    if ($key) { $key.GetValue($Name) }
}

function Get-PendingRestart {
    $base = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion'
    if (Test-Path "$base\Component Based Servicing\RebootPending") { 'servicing' }
    if (Test-Path "$base\WindowsUpdate\Auto Update\RebootRequired") { 'update' }
}

function Get-Wsl {
    # The registry speaks no language, and reading it starts nothing: wsl.exe without WSL waits for a key.
    $msi = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Lxss\MSI'
    $version = [string](Get-RegistryValue $msi 'Version')
    if ($version) {
        return @{ kind = 'msi'; version = $version }
    }
    $store = Get-AppxPackage -Name 'MicrosoftCorporationII.WindowsSubsystemForLinux' -ErrorAction SilentlyContinue
    if ($store) { return @{ kind = 'store'; version = [string]@($store)[0].Version } }
    if (Test-Path "$env:SystemRoot\System32\lxss\LxssManager.dll") { return @{ kind = 'inbox'; version = '1.0' } }
    @{ kind = 'none'; version = '0' }
}

function Get-Distro {
    $root = 'HKCU:\Software\Microsoft\Windows\CurrentVersion\Lxss'
    foreach ($key in @(Get-ChildItem -Path $root -ErrorAction SilentlyContinue)) {
        $name = $key.GetValue('DistributionName')
        if (-not $name) { continue }
        @{
            name = [string]$name
            version = [int]$key.GetValue('Version')
            # 1 is installed; anything else was interrupted.
            installed = [int]$key.GetValue('State') -eq 1
            folder = ([string]$key.GetValue('BasePath')).Replace('\\?\', '').TrimEnd('\')
        }
    }
}

function Get-Unreachable {
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    foreach ($url in $Urls) {
        $request = [Net.WebRequest]::Create($url)
        $request.Method = 'HEAD'
        $request.Timeout = 20000
        if ($Proxy) { $request.Proxy = New-Object Net.WebProxy $Proxy }
        try {
            $request.GetResponse().Close()
        } catch {
            $answer = $null
            $base = $_.Exception.GetBaseException()
            if ($base -is [Net.WebException]) { $answer = $base.Response }
            # An answer of any kind is a way there, but the proxy's own: it wants a name and a password.
            if ($null -eq $answer -or [int]$answer.StatusCode -eq 407) { "$url ($($base.Message))" }
        }
    }
}

function Get-SshdProblem {
    $path = "$env:ProgramData\ssh\sshd_config"
    if (-not (Test-Path -LiteralPath $path)) { return }
    $match = ''
    $number = 0
    foreach ($text in [IO.File]::ReadAllLines($path)) {
        $number += 1
        if ($text -notmatch '^\s*([A-Za-z]+)[\s=]+(.*?)\s*$') { continue }
        $word = $Matches[1].ToLowerInvariant()
        $value = $Matches[2].Trim('"')
        if ($word -eq 'match') {
            $match = $value.ToLowerInvariant()
            continue
        }
        if ($match -ne '' -and $match -ne 'all' -and $match -notmatch '^group\s+"?administrators"?$') { continue }
        if ($word -eq 'pubkeyauthentication' -and $value -eq 'no') { "line $number of ${path}: $($text.Trim())" }
    }
}

function Get-Firewall {
    $rule = Get-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue
    if (-not $rule) { return @{ exists = $false; enabled = $false; profile = ''; addresses = @() } }
    $addresses = @(($rule | Get-NetFirewallAddressFilter).RemoteAddress)
    @{
        exists = $true
        enabled = "$($rule.Enabled)" -eq 'True'
        profile = "$($rule.Profile)"
        addresses = @($addresses | ForEach-Object { "$_" -replace '/(255\.255\.255\.255|32|128)$', '' })
    }
}

function Get-PowerValue([string]$Group, [string]$Setting) {
    # Its words are translated, its numbers are not: the last two are on mains and on battery.
    # Within cmd, for PowerShell makes an error of each line on standard error.
    $text = (& cmd.exe /d /c "powercfg.exe /qh SCHEME_CURRENT $Group $Setting 2>&1") -join "`n"
    $found = [regex]::Matches($text, '0x[0-9A-Fa-f]{8}')
    if ($found.Count -lt 2) { return -1 }
    [Convert]::ToInt64($found[$found.Count - 2].Value, 16)
}

$gigabyte = 1073741824
$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
$principal = New-Object Security.Principal.WindowsPrincipal $identity
$administrators = New-Object Security.Principal.SecurityIdentifier 'S-1-5-32-544'
$computer = Get-CimInstance -ClassName Win32_ComputerSystem
$processor = @(Get-CimInstance -ClassName Win32_Processor)[0]
$current = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$administrator = $principal.IsInRole($administrators)
$feature = 'unknown'
if ($administrator) {
    $found = Get-WindowsOptionalFeature -Online -FeatureName VirtualMachinePlatform
    if ($found) { $feature = "$($found.State)" } else { $feature = 'missing' }
}
$service = Get-CimInstance -ClassName Win32_Service -Filter "Name='sshd'"
$config = Join-Path $env:USERPROFILE '.wslconfig'
$wslconfig = ''
if (Test-Path -LiteralPath $config) { $wslconfig = [Convert]::ToBase64String([IO.File]::ReadAllBytes($config)) }
$state = '{}'
if ($administrator -and (Test-Path -LiteralPath $StateFile)) { $state = [IO.File]::ReadAllText($StateFile) }

$Ansible.Result = @{
    administrator = $administrator
    account = $identity.Name
    profile = $env:USERPROFILE
    local_app_data = $env:LOCALAPPDATA
    edition = [string](Get-RegistryValue $current 'EditionID')
    build = [int](Get-RegistryValue $current 'CurrentBuildNumber')
    architecture = [string](Get-RegistryValue 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment' 'PROCESSOR_ARCHITECTURE')
    memory_gb = [int][math]::Round($computer.TotalPhysicalMemory / $gigabyte)
    # Under a hypervisor the processor reports that it has none.
    virtualization = [bool]($computer.HypervisorPresent -or $processor.VirtualizationFirmwareEnabled)
    disk_free_gb = [int][math]::Floor((Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='C:'").FreeSpace / $gigabyte)
    restart_pending = @(Get-PendingRestart)
    feature = $feature
    wsl = Get-Wsl
    distros = @(Get-Distro)
    unreachable = @(Get-Unreachable)
    client = "$env:SSH_CONNECTION".Split(' ')[0]
    sshd_problems = @(Get-SshdProblem)
    sshd_running = [bool]($service -and $service.State -eq 'Running')
    default_shell = [string](Get-RegistryValue 'HKLM:\SOFTWARE\OpenSSH' 'DefaultShell')
    firewall = Get-Firewall
    power = @{
        standby = Get-PowerValue 'SUB_SLEEP' 'STANDBYIDLE'
        hibernate = Get-PowerValue 'SUB_SLEEP' 'HIBERNATEIDLE'
        lid = Get-PowerValue 'SUB_BUTTONS' 'LIDACTION'
    }
    wslconfig = $wslconfig
    wslconfig_exists = Test-Path -LiteralPath $config
    state = $state
}
