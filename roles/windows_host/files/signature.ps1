# maw-script: signature
# Tells who signed a file, and whether Windows finds the signature good.
[CmdletBinding(SupportsShouldProcess)]
param (
    [Parameter(Mandatory)][string]$Path
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

$signature = Get-AuthenticodeSignature -LiteralPath $Path
$signer = ''
if ($signature.SignerCertificate) { $signer = $signature.SignerCertificate.Subject }
$Ansible.Result = @{
    valid = "$($signature.Status)" -eq 'Valid'
    status = "$($signature.Status)"
    signer = $signer
    sha256 = (Get-FileHash -LiteralPath $Path -Algorithm SHA256).Hash.ToLowerInvariant()
}
