"""Seals: whatever is changed, left out or put in is noticed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.errors import EvidenceInvalid
from sdk.evidence import chain, keys, record

NOW = datetime(2026, 11, 21, 12, 30, 0, 250_000, UTC)
PLAIN = {"schema": record.SCHEMA, "input": {}, "models": [], "results": [], "decision": {}, "runtime": {}}
PLAIN |= {"timing_ms": {"total": 1.5}}


def sealed(count: int, previous: str | None = None, signer: chain.Signer | None = None) -> list[str]:
    texts = []
    for number in range(count):
        texts.append(chain.seal(PLAIN | {"error": number}, previous=previous, signer=signer, now=NOW))
        previous = record.digest(texts[-1])
    return texts


@pytest.fixture(scope="module")
def signed(key_path):
    return sealed(1, signer=chain.Signer.read(key_path))[0]


def test_a_seal_is_the_same_text_for_the_same_moment():
    assert sealed(1) == sealed(1)
    assert json.loads(sealed(1)[0])["time"] == "2026-11-21T12:30:00.250Z"


def test_a_chain_is_accepted_and_says_what_it_ends_with():
    texts = sealed(4)
    assert chain.check_chain(texts) == record.digest(texts[-1])
    assert chain.check_chain(texts[2:], previous=record.digest(texts[1])) == record.digest(texts[-1])
    assert chain.check_chain([]) is None


@given(which=st.integers(0, 3), change=st.sampled_from(["left out", "changed", "twice", "exchanged"]))
def test_a_chain_in_which_anything_was_changed_is_refused(which, change):
    texts = sealed(5)
    if change == "left out":
        del texts[which]
    elif change == "changed":
        texts[which] = texts[which].replace("1.5", "2.5")
    elif change == "twice":
        texts.insert(which, texts[which])
    else:
        texts[which], texts[which + 1] = texts[which + 1], texts[which]
    with pytest.raises(EvidenceInvalid, match="does not follow"):
        chain.check_chain(texts)


def test_a_signed_record_is_accepted_with_its_key(signed, key_path):
    chain.check_signature(record.loads(signed), keys.public(key_path.with_name("public.pem")))


def test_a_signature_covers_every_member(signed, key_path):
    key = keys.public(key_path.with_name("public.pem"))
    found = record.loads(signed)
    for name in set(found) - {"signature"}:
        with pytest.raises(EvidenceInvalid, match="changed after it was signed"):
            chain.check_signature({**found, name: "other"}, key)
    value = found["signature"]["value"]
    for other in ("", "zz", value[:-2], ("0" if value[0] != "0" else "1") + value[1:]):
        with pytest.raises(EvidenceInvalid, match="changed after it was signed"):
            chain.check_signature({**found, "signature": {**found["signature"], "value": other}}, key)


def test_another_key_and_no_signature_are_told_apart(signed, key_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(EvidenceInvalid, match="signed with another key"):
        chain.check_signature(record.loads(signed), other)
    with pytest.raises(EvidenceInvalid, match="not signed"):
        chain.check_signature(record.loads(sealed(1)[0]), other)


def test_a_file_that_is_no_key_is_refused(tmp_path, key_path):
    (tmp_path / "no.pem").write_text("no key")
    with pytest.raises(EvidenceInvalid, match="cannot be read as a private key"):
        chain.Signer.read(tmp_path / "no.pem")
    with pytest.raises(EvidenceInvalid, match="cannot be read as a public key"):
        keys.public(tmp_path / "no.pem")
    with pytest.raises(EvidenceInvalid, match="checking takes the public one"):
        keys.public(key_path)
