"""Certificates as a node has them: an authority of its own, and what the API shows."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = ("localhost", "pve1")
_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Certificates:
    """The files of a node's certificates."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, as Proxmox VE shows it."""
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text("ascii"))
        return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def make(folder: Path, *, expired: bool = False) -> Certificates:
    """Given a folder, make an authority and a certificate there; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(folder / "pve-root-ca.pem", folder / "pve-ssl.pem", folder / "pve-ssl.key")
    try:
        import cryptography  # noqa: F401  - only whether it is there
    except ImportError:
        _with_openssl(folder, files, expired=expired)
    else:
        _with_cryptography(files, expired=expired)
    files.key.chmod(0o600)
    return files


def _with_cryptography(files: Certificates, *, expired: bool) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)
    end = now - datetime.timedelta(days=1) if expired else now + datetime.timedelta(days=30)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def begun(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        begin = now - datetime.timedelta(days=30)
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
        builder = builder.public_key(key).serial_number(x509.random_serial_number())
        return builder.not_valid_before(begin)

    authority = "Proxmox Virtual Environment"
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = begun(authority, authority, ca_key.public_key()).not_valid_after(now + datetime.timedelta(days=30))
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = ca.add_extension(usage, critical=True)
    names = [x509.DNSName(host) for host in _NAMES]
    alternatives = x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address(_ADDRESS))])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    own = begun("pve1.lab.invalid", authority, key.public_key()).not_valid_after(end)
    own = own.add_extension(alternatives, critical=False).add_extension(identifier, critical=False)
    pem = serialization.Encoding.PEM
    files.authority.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    files.certificate.write_bytes(own.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(pem, form, plain))


def _with_openssl(folder: Path, files: Certificates, *, expired: bool) -> None:
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = [
        "-subj",
        "/CN=Proxmox Virtual Environment",
        "-keyout",
        "ca.key",
        "-out",
        files.authority.name,
    ]
    openssl("req", "-x509", *curve, "-days", "30", *authority)
    openssl("req", *curve, "-subj", "/CN=pve1.lab.invalid", "-keyout", files.key.name, "-out", "own.csr")
    names = ",".join([*(f"DNS:{name}" for name in _NAMES), f"IP:{_ADDRESS}"])
    (folder / "names").write_text(f"subjectAltName={names}\n", "ascii")
    signed = ["-CA", files.authority.name, "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    days = "-1" if expired else "30"
    openssl("x509", "-req", "-in", "own.csr", *signed, "-days", days, "-out", files.certificate.name)
