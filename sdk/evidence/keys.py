"""Ed25519 keys from PEM files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sdk.errors import EvidenceInvalid, MissingExtra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_REMEDY = "openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem"


def private(path: Path) -> Ed25519PrivateKey:
    """The private key in the PEM file at ``path``, which has no passphrase."""
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EvidenceInvalid(f"{path} cannot be read as a private key: {error}", remedy=_REMEDY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceInvalid(f"{path} is not an Ed25519 key", remedy=_REMEDY)
    return key


def public(path: Path) -> Ed25519PublicKey:
    """The public key in the PEM file at ``path``."""
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceInvalid(f"{path} cannot be read as a public key: {error}", remedy=_REMEDY) from error
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceInvalid(f"{path} is not an Ed25519 key", remedy=_REMEDY)
    return key


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtra("cryptography", extra="evidence", purpose="signing records", why=str(error)) from error
