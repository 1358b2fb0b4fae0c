"""Policies as files: what is read, what is refused, and what names them."""

from __future__ import annotations

import hashlib

import pytest

from sdk import policy_file
from sdk.errors import BadSetting, UnknownName
from sdk.policy import Threshold

TEXT = """
schema = 1
name = "claims"
version = 7
models = ["a", "b"]
agree = 2
unreadable = "block"
[thresholds.default]
review = { false_alarms = 0.05 }
[thresholds.claim]
minimum_area = 0.001
review = { score = 0.5 }
block = { score = 0.9 }
"""


@pytest.fixture
def read(tmp_path):
    def reads(text: str):
        (tmp_path / "policy.toml").write_text(text)
        return policy_file.read(tmp_path / "policy.toml")

    return reads


def test_a_policy_is_what_its_file_says(read):
    policy = read(TEXT)
    assert (policy.name, policy.version, policy.models, policy.agree) == ("claims", 7, ("a", "b"), 2)
    assert (policy.inconclusive, policy.unreadable) == ("review", "block")
    assert policy.at("claim").block == Threshold(score=0.9)
    assert policy.at("claim").minimum_area == 0.001
    assert policy.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_every_change_of_the_file_is_another_policy(read):
    assert read(TEXT).sha256 != read(TEXT + "# a remark\n").sha256


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("schema = 1", "schema = 2", "schema is 2"),
        ('name = "claims"', "", "lacks name"),
        ("version = 7", "version = 0", "version is 0"),
        ("version = 7", "version = true", "version is True"),
        ("agree = 2", "agree = 3", "agree is 3 of 2 models"),
        ('models = ["a", "b"]', 'models = "a"', "models is 'a'"),
        ('models = ["a", "b"]', 'models = ["a", "a"]', "models names a twice"),
        ("[thresholds.default]", "[thresholds.other]", r"no \[thresholds.default\]"),
        ("minimum_area = 0.001", "minimum_area = 1.5", "minimum_area of claim is 1.5"),
        ("{ score = 0.9 }", "0.9", "block of claim is 0.9"),
        ("{ score = 0.9 }", "{ score = 0.4 }", "block of claim lies below review"),
        ("{ score = 0.9 }", "{ score = nan }", "block of claim is"),
        ("review = { false_alarms = 0.05 }", "review = { false_alarms = 0.01 }\nblock = { false_alarms = 0.05 }",
         "more false alarms than review"),
        ("schema = 1", "schema = ", "is not TOML"),
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(read, old, new, problem):
    with pytest.raises(BadSetting, match=problem):
        read(TEXT.replace(old, new))


def test_every_fault_of_a_policy_is_named_at_once(read):
    text = TEXT.replace("version = 7", "version = 0").replace("agree = 2", "agre = 3").replace("0.9 }", "0.4 }")
    with pytest.raises(BadSetting) as told:
        read(text)
    assert str(told.value) == (
        "3 faults in the policy:\n  no setting in a policy named 'agre': did you mean 'agree'?"
        "\n  version is 0: give a whole number from 1 up"
        "\n  block of claim lies below review: block from a higher score\n  -> mend them all"
    )


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("agree = 2", "agre = 2", "did you mean 'agree'"),
        ("minimum_area", "minimum_aera", "did you mean 'minimum_area'"),
        ("{ score = 0.9 }", "{ scor = 0.9 }", "did you mean 'score'"),
        ('"block"', '"authentic"', "choose one of: block, pass, review"),
    ],
)
def test_what_means_nothing_is_refused_with_a_hint(read, old, new, hint):
    with pytest.raises(UnknownName, match=hint):
        read(TEXT.replace(old, new))


def test_shipped_policies_are_read_and_block_nothing():
    for path in policy_file.SHIPPED.glob("*.toml"):
        policy = policy_file.read(policy_file.find(path.stem))
        assert all(limits.block is None for limits in policy.thresholds.values())
    with pytest.raises(UnknownName, match="no policy named 'defualt'"):
        policy_file.find("defualt")
