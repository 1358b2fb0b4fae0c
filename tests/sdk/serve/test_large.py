"""Files that are too large, and pictures that are too large for somebody to wait for."""

from __future__ import annotations

import numpy as np

from tests.sdk.files import png_header, saved, scene
from tests.sdk.serve.conftest import finished, picture, served


def test_a_file_over_the_limit_is_refused_before_it_is_read(make_settings):
    with served(make_settings(anyone=True, max_bytes=6000)) as client:
        answer = client.post("/v1/analyze", content=bytes(6001))
        assert answer.status_code == 413
        chunks = client.post("/v1/analyze", content=iter([bytes(3600)] * 3))
        assert (chunks.status_code, "6,000" in chunks.json()["error"]["problem"]) == (413, True)
        form = client.post("/v1/analyze", files={"file": ("a", bytes(6001))})
        assert form.status_code == 413


def test_large_files_go_through_jobs(make_settings):
    small, wide = picture(65), picture(66, size=(140, 181))
    bulky = saved(scene(np.random.default_rng(67), 120, 120), "BMP")
    assert len(wide) < 41_000 < len(bulky)
    header = png_header(180, 141)  # no pixel follows it
    with served(make_settings(anyone=True, large_bytes=41_000, large_pixels=140 * 180)) as client:
        assert client.post("/v1/analyze", content=small).json()["action"] == "pass"
        for data, problem in ((wide, "181 x 140 = 25,340 pixels, more than 25,200 "), (header, "180 x 141 = 25,380 "),
                              (bulky, "bytes or more, the limit is 41,000 where somebody waits")):  # fmt: skip
            answer = client.post("/v1/analyze", content=data)
            error = answer.json()["error"]
            assert (answer.status_code, error["remedy"]) == (413, "hand it in as a job: POST /v1/jobs")
            assert problem in error["problem"]
            queued = client.post("/v1/jobs", content=data)
            assert queued.status_code == 202
            assert finished(client, queued.json()["id"], {})["action"] == ("review" if data == header else "pass")
        text = client.get("/metrics").text
        assert 'imdl_rejects_total{reason="413 large_pixels"} 2.0' in text
        assert 'imdl_rejects_total{reason="413 large_bytes"} 1.0' in text
        assert 'imdl_unreadable_total{error="DecodeFailed"} 1.0' in text
        assert client.post("/v1/analyze", content=png_header(20_000, 20_000)).json()["error"]["type"] == "LimitExceeded"
