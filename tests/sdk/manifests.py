"""Pictures with a C2PA manifest, signed with keys and certificates that are made for it."""

from __future__ import annotations

import datetime
import io

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MANIFEST = {
    "claim_generator_info": [{"name": "test-press", "version": "1"}],
    "title": "someone's holiday.jpg",
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
                    }
                ]
            },
        }
    ],
}


def signed(data: bytes, mime: str) -> bytes:
    """The picture ``data`` with a manifest in it."""
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [_certificate("Someone", leaf, signer=root, ca=False), _certificate("Root", root, signer=root, ca=True)]
    pem = serialization.Encoding.PEM
    key = leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    info = c2pa.C2paSignerInfo(b"es256", b"".join(each.public_bytes(pem) for each in chain), key, None)
    out = io.BytesIO()
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder({**MANIFEST, "format": mime}) as builder:
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, *, signer: ec.EllipticCurvePrivateKey, ca: bool
) -> x509.Certificate:
    def named(common: str) -> x509.Name:
        parts = ((NameOID.ORGANIZATION_NAME, "Test Press"), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])

    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                           "encipher_only", "decipher_only"), False)  # fmt: skip
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder(named("Root"), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.KeyUsage(True, key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
    )
    if not ca:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(signer, hashes.SHA256())
