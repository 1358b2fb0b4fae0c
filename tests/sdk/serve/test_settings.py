"""Settings: what a file says, what is refused."""

from __future__ import annotations

import pytest

from sdk.errors import BadSetting, UnknownName
from sdk.serve.settings import LARGEST, Settings, read


def test_a_file_says_what_differs_from_the_defaults(tmp_path):
    (tmp_path / "serve.toml").write_text('workers = 3\nseconds = 5\nmodels = ["a", "b"]\nkeep = "none"\n')
    found = read(tmp_path / "serve.toml", policy="strict", shadow=None)
    assert found == Settings(workers=3, seconds=5.0, models=("a", "b"), keep="none", policy="strict")
    assert read(None) == Settings()
    assert Settings(max_bytes=500, max_bytes_inflight=1000).max_bytes == 500  # its share to the byte
    shares = {2**20: 2**19, 2**32: LARGEST}
    for inflight, most in shares.items():
        assert Settings(max_bytes=9, max_bytes_inflight=inflight).video_limits.bytes == most


@pytest.mark.parametrize(
    ("text", "problem"),
    [("workers = 0", "workers is 0"), ("workers = 1.5", "workers is 1.5"), ("workers = true", "workers is True"),
     ("seconds = inf", "seconds is inf"), ("max_bytes = -1", "max_bytes is -1"), ("models = 'a'", "models is 'a'"),
     ("models = [1]", r"models is \[1\]"), ("workers =", "cannot be read"), ("anyone = 1", "anyone is 1"),
     ("max_bytes_inflight = 9_000_000", "one key gets 4,500,000 bytes"),
     ("max_video_bytes = 524_288_001\nmax_bytes_inflight = 9_000_000_000",
      "max_video_bytes is 524,288,001, and a database holds files of 524,288,000 bytes at most"),
     ('fetch = ["https://cdn.example/"]', "fetch names 'https://cdn.example/'"),
     ('fetch = ["cdn.example"]', "fetch names 'cdn.example'"),
     ('fetch = ["https://cdn.example:65536"]', "fetch names 'https://cdn.example:65536'"),
     ("max_share = 0.2", "max_bytes is 67,108,864, and one key gets 53,687,091 bytes")],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused(tmp_path, text, problem):
    (tmp_path / "serve.toml").write_text(text)
    with pytest.raises(BadSetting, match=problem):
        read(tmp_path / "serve.toml")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("max_share = 1.1", "give a number from 0.001 to 1.0"), ("workers = 100_000", "give a whole number from 1 to 256"),
     ("lease_seconds = inf", "give a number that is finite, 0.001 or more"), ("policy = 3", "give a text in quotes"),
     ("models = 'x'", r"""give a list of texts: \["a", "b"\]"""), ("anyone = 1", "give true or false"),
     ("retain_days = -1", "give a number that is finite, 0 or more")],
)  # fmt: skip
def test_who_gives_a_wrong_value_is_told_of_right_ones(tmp_path, text, remedy):
    (tmp_path / "serve.toml").write_text(text)
    with pytest.raises(BadSetting, match=remedy):
        read(tmp_path / "serve.toml")


def test_a_name_that_means_nothing_is_refused(tmp_path):
    (tmp_path / "serve.toml").write_text("worker = 2")
    with pytest.raises(UnknownName, match="did you mean 'workers'"):
        read(tmp_path / "serve.toml")
    with pytest.raises(UnknownName, match="choose one of: all, flagged, none"):
        Settings(keep="some")
    with pytest.raises(UnknownName, match="no way of decoding uploads named 'inline'"):
        Settings(decode="inline")
    with pytest.raises(BadSetting, match="cannot be read"):
        read(tmp_path / "none.toml")
