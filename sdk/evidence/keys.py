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

    data = _read(path)
    if b"PUBLIC KEY-----" in data:
        raise EvidenceInvalid(f"{path} holds a public key, and signing takes the private one", remedy=_REMEDY)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        raise EvidenceInvalid(
            f"{path} is encrypted", remedy=f"openssl pkey -in {path} -out plain.pem, which its owner alone may read"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceInvalid(f"{path} cannot be read as a private key: {_first(error)}", remedy=_REMEDY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceInvalid(f"{path} holds a key of another kind: {type(key).__name__}", remedy=_REMEDY)
    return key


def public(path: Path) -> Ed25519PublicKey:
    """The public key in the PEM file at ``path``."""
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        raise EvidenceInvalid(
            f"{path} holds a private key, and checking takes the public one",
            remedy=f"openssl pkey -in {path} -pubout -out public.pem",
        )
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceInvalid(f"{path} cannot be read as a public key: {_first(error)}", remedy=_REMEDY) from error
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceInvalid(f"{path} holds a key of another kind: {type(key).__name__}", remedy=_REMEDY)
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceInvalid(f"the key {path} cannot be read: {error.strerror}", remedy=_REMEDY) from error


def _first(error: Exception) -> str:
    """The first sentence of an error: the others are about web pages."""
    return str(error).partition(". ")[0]


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtra("cryptography", extra="evidence", purpose="signing records", why=str(error)) from error
