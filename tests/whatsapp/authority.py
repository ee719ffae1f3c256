"""A certificate authority for the stand-in's TLS, made anew for each run."""

import datetime as dt
import ssl
import tempfile
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.whatsapp.media import MEDIA_HOST

WEB_HOST = "web.whatsapp.com"
_LIFE = dt.timedelta(days=1)


class Authority:
    """Signs the stand-in's certificate, and writes its own to `certificate_file`.

    Use it as a context manager: the file goes with it.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="whatsapp-stand-in-")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WhatsApp stand-in")])
        certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    @property
    def certificate_file(self) -> Path:
        """The authority's certificate: what belongs in `SSL_CERT_FILE`."""
        return Path(self._directory.name, "authority.pem")

    def server_context(self, *hosts: str) -> ssl.SSLContext:
        """Certify host names (WhatsApp's, unless others are given) for a server's TLS settings."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host) for host in hosts or (WEB_HOST, MEDIA_HOST)]
        certificate = (
            _builder(x509.Name([]), self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        chain = Path(self._directory.name, "server.pem")
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
    )
