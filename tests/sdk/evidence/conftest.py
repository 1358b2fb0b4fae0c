"""An examiner with the toy model, files for it, and a key that signs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sdk
from sdk import policy_file
from sdk.examiner import Examiner
from tests.sdk.files import saved, scene

POLICY = """
schema = 1
name = "toy"
version = 2
[thresholds.default]
review = { false_alarms = 0.05 }
block = { score = 0.95 }
"""
SHADOW = POLICY.replace('"toy"', '"trial"').replace("{ false_alarms = 0.05 }", "{ score = 0.1 }")


@pytest.fixture(scope="session")
def policy_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("policies") / "toy.toml"
    path.write_text(POLICY)
    path.with_name("trial.toml").write_text(SHADOW)
    return path


@pytest.fixture(scope="session")
def examiner(toy_path, policy_path):
    """The toy, whose score is brightness, under a policy and one on trial."""
    policy, shadow = (policy_file.read(path) for path in (policy_path, policy_path.with_name("trial.toml")))
    with sdk.load(toy_path, backend="onnxruntime", decode="inline", threads=1) as analyzer:
        yield Examiner([analyzer], policy, shadow)


@pytest.fixture(scope="session")
def upload() -> bytes:
    """A PNG that the toy takes for suspicious."""
    rng = np.random.default_rng(5)
    return saved(scene(rng, 70, 90, low=100, high=250), "PNG")


@pytest.fixture(scope="session")
def key_path(tmp_path_factory) -> Path:
    """PEM file of a private key; ``public.pem`` lies beside it."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, path = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), tmp_path_factory.mktemp("keys") / "key.pem"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    path.with_name("public.pem").write_bytes(key.public_key().public_bytes(pem, info))
    return path
