"""An engine's frames: what is within is taken, what is not is not, and text goes there and back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.engines.profile import Profile
from sdk.errors import BadSetting

side = st.integers(1, 5000)
profiles = st.builds(
    lambda h, w, batch, size: Profile(
        smallest=(h[0], w[0]), usual=(h[1], w[1]), largest=(h[2], w[2]), batch=batch, working_size=size
    ),
    st.lists(side, min_size=3, max_size=3).map(sorted),
    st.lists(side, min_size=3, max_size=3).map(sorted),
    st.integers(1, 8),
    st.none() | st.integers(0, 2000),
)


@given(profile=profiles)
def test_json_gives_the_profile_back(profile):
    assert Profile.from_dict(json.loads(json.dumps(dataclasses.asdict(profile)))) == profile


@given(profile=profiles)
def test_its_own_frames_are_admitted_and_the_next_larger_are_not(profile):
    size = profile.working_size or 0
    for sides in (profile.smallest, profile.usual, profile.largest):
        assert profile.admits((profile.batch, *sides, 3), size)
    height, width = profile.largest
    assert not profile.admits((1, height + 1, width, 3), size)
    assert not profile.admits((1, height, width + 1, 3), size)
    assert not profile.admits((profile.batch + 1, height, width, 3), size)


@given(height=side, width=side)
def test_around_a_frame_takes_that_frame(height, width):
    assert Profile.around(height, width).admits((1, height, width, 3), 0)


def test_a_built_in_working_size_serves_no_other():
    profile = Profile.only(90, 160, working_size=512)
    assert profile.is_fixed
    assert profile.admits((1, 90, 160, 3), 512)
    assert not profile.admits((1, 90, 160, 3), 0)
    assert profile.text() == "90x160 px, working size 512"


@pytest.mark.parametrize("wrong", [{"smallest": (2000, 64)}, {"batch": 0}, {"largest": (100, 100)}])
def test_an_impossible_range_is_refused(wrong):
    with pytest.raises(BadSetting, match="takes no frame"):
        Profile(**wrong)
