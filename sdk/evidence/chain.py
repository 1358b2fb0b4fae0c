"""Seals: the time, the digest of the record before, and a signature. What was sealed cannot be changed unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdk.errors import EvidenceInvalid
from sdk.evidence import keys
from sdk.evidence.record import Record, digest, dumps, loads

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "ed25519"


class Signer:
    """Signs records with an Ed25519 key: ``openssl genpkey -algorithm ed25519 -out key.pem``."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    @classmethod
    def read(cls, path: Path) -> Signer:
        """The signer with the private key in the PEM file at ``path``, without a passphrase."""
        return cls(keys.private(path))

    def sign(self, record: Mapping[str, object]) -> Record:
        """``record`` with a signature over its JSON."""
        value = self._key.sign(dumps(record).encode()).hex()
        return {**record, "signature": {"algorithm": ALGORITHM, "key": self.key_id, "value": value}}


def seal(
    record: Mapping[str, object],
    *,
    previous: str | None = None,
    signer: Signer | None = None,
    now: datetime | None = None,
) -> str:
    """The text of ``record`` with the time, the digest of the text before it in the chain, and a signature."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    dated: Record = {**record, "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    dated["previous"] = previous
    return dumps(signer.sign(dated) if signer else {**dated, "signature": None})


def check_signature(record: Mapping[str, Any], key: Ed25519PublicKey) -> None:
    """Refuse a record that does not bear the signature of ``key``."""
    from cryptography.exceptions import InvalidSignature

    signature = record.get("signature")
    if not isinstance(signature, dict) or signature.get("algorithm") != ALGORITHM:
        raise EvidenceInvalid("the record is not signed", remedy="trust it as far as where you have it from")
    if signature.get("key") != key_id(key):
        raise EvidenceInvalid(
            f"the record was signed with another key, {signature.get('key')}",
            remedy=f"give that one; SHA-256 of the one that was given is {key_id(key)}",
        )
    signed = dumps({name: value for name, value in record.items() if name != "signature"})
    try:
        key.verify(bytes.fromhex(str(signature.get("value"))), signed.encode())
    except (InvalidSignature, ValueError) as error:
        raise EvidenceInvalid(
            "the record was changed after it was signed", remedy="fetch it from where it was made"
        ) from error


def check_chain(texts: Iterable[str], *, previous: str | None = None) -> str | None:
    """Refuse records, in the order of their sealing, of which one was changed, left out or put in.

    ``previous`` is the digest before the first. Returns that of the last, which has to be known from elsewhere to
    notice that the end was cut off.
    """
    for number, text in enumerate(texts, 1):
        if loads(text).get("previous") != previous:
            start = ", or the file begins within a chain: --previous SHA256 names the record before" * (number == 1)
            raise EvidenceInvalid(
                f"record {number} does not follow the one before it",
                remedy=f"one was changed, left out or put in{start}",
            )
        previous = digest(text)
    return previous


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, in hexadecimal."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()
