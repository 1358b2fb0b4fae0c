"""Videos: taken as jobs, examined beside pictures, answered with what was found when."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from sdk.serve import desk
from sdk.serve.access import ANYONE
from sdk.serve.database import Database
from sdk.serve.jobs import Job, Jobs
from tests.sdk.clips import grey, toy_of_video
from tests.sdk.serve.conftest import BRIGHT, DIM, finished, served
from tests.sdk.videos import make

DARK, LIGHT = grey(20), grey(240)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(toy_of_video(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    """Eight frames, of which the fourth and the fifth are light."""
    frames = [DARK] * 3 + [LIGHT] * 2 + [DARK] * 3
    return make(tmp_path_factory.mktemp("clip") / "a.mp4", frames).read_bytes()


@pytest.fixture(scope="module")
def client(make_settings, model):
    with served(make_settings(anyone=True, models=(model,), per_minute=100_000, max_bytes=40_000)) as client:
        yield client


@pytest.fixture(scope="module")
def job(client, clip) -> dict:
    handed_in = client.post("/v1/jobs", content=clip)
    assert handed_in.status_code == 202
    return finished(client, handed_in.json()["id"], {})


def test_a_video_is_answered_with_what_was_found_when(client, job):
    assert (job["state"], job["action"], job["error"]) == ("done", "block", None)
    video = job["video"]
    assert (video["frames"], video["actions"]) == (8, {"pass": 6, "review": 0, "block": 2})
    assert (video["worst"][0]["frame"], video["worst"][0]["time_s"]) == (3, 0.12)
    assert [span["verdict"] for span in video["models"]["toy"]["spans"]] == [
        "no_evidence",
        "manipulated",
        "no_evidence",
    ]
    assert job["models"][0]["score"] == video["worst"][0]["scores"]["toy"]
    assert job["record"]["video"] == video
    assert job["reasons"][1].startswith("frame 3, at 0.12 s: toy: score 0.9")


def test_pictures_are_of_the_most_suspicious_frame(client, job):
    frame = client.get(f"/v1/review/{job['id']}/frame.jpg").content
    assert cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE).mean() > 220
    for name in ("heatmap", "overlay"):
        assert client.get(f"/v1/jobs/{job['id']}/{name}.png").content[:4] == b"\x89PNG"
    assert client.get(f"/v1/review/{job['id']}").json()["job"]["video"] == job["video"]


def test_the_same_video_again_costs_no_examination(client, job, clip):
    assert client.post("/v1/jobs", content=clip).json() == job
    form = client.post("/v1/jobs", files={"file": ("holiday.mp4", clip)})
    assert form.json() == job


def test_frames_of_videos_are_counted_and_leave_the_scores_of_pictures_alone(client, job):
    text = client.get("/metrics").text
    assert 'imdl_frames_total{model="toy",verdict="manipulated"} 2.0' in text
    assert 'imdl_actions_total{action="block",content="default"} 1.0' in text
    assert "imdl_score_count" not in text


def test_a_video_has_a_route_and_limits_of_its_own(client, clip):
    answer = client.post("/v1/analyze", content=clip)
    assert (answer.status_code, answer.json()["error"]["remedy"]) == (422, "hand it in as a job: POST /v1/jobs")
    assert client.post("/v1/jobs", content=bytes(40_001)).status_code == 413
    handed_in = client.post("/v1/jobs", content=clip + bytes(40_000))  # what follows the last box is no fault
    assert handed_in.status_code == 202
    assert finished(client, handed_in.json()["id"], {})["video"]["frames"] == 8


def test_a_video_that_is_cut_off_is_decided_about(client, clip):
    document = finished(client, client.post("/v1/jobs", content=clip[:300]).json()["id"], {})
    assert (document["action"], document["error"]["type"], document["video"]) == ("review", "DecodeFailed", None)


def test_without_a_reader_of_videos_none_is_taken(client, clip, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(desk, "find_spec", lambda name: None)
        answer = client.post("/v1/jobs", content=clip + b"another")
    assert (answer.status_code, answer.json()["error"]["remedy"]) == (503, "pip install 'imdl-sdk[video]'")


def test_a_video_whose_server_died_is_examined_by_the_next(make_settings, model, clip):
    settings = make_settings(anyone=True, models=(model,))
    database = Database(settings.database)
    database.migrate()
    gone = Jobs(database, owner="gone", lease_seconds=60, max_attempts=3)
    one = Job("5" * 32, ANYONE.name, "default", "0" * 64, len(clip), kind="video")
    gone.hand_in(one, clip)
    assert gone.take() is None  # whoever examines pictures does not get it
    assert gone.take("video")[1] == clip
    database.close()
    with served(settings) as client:
        assert finished(client, one.id, {})["action"] == "block"


def test_videos_that_wait_leave_pictures_their_queue(make_settings, model, clip):
    with served(make_settings(anyone=True, models=(model,), max_queue=1)) as client:
        held = client.app.state.service.desk
        held._videos._free.acquire()
        held._mean["video"] = 900.0
        waits = client.post("/v1/jobs", content=clip)
        refused = client.post("/v1/jobs", content=clip + b"another")
        assert (waits.status_code, refused.status_code, refused.headers["retry-after"]) == (202, 429, "900")
        assert finished(client, client.post("/v1/jobs", content=DIM).json()["id"], {})["action"] == "pass"
        held._videos._free.release()
        assert finished(client, waits.json()["id"], {})["action"] == "block"


def test_a_picture_does_not_wait_behind_a_video_and_the_end_of_the_service_not_for_it(make_settings, model, clip):
    settings = make_settings(anyone=True, models=(model,), max_attempts=1)
    with served(settings) as client:
        examiner, begun, go = client.app.state.service.desk._examiner, threading.Event(), threading.Event()
        examine = examiner.examine

        def slowly(data: bytes, *, between, **known: str) -> object:
            def wait() -> None:
                begun.set()
                go.wait(0.01)
                between()

            if data[:4] == clip[:4]:
                while not go.is_set():
                    wait()
            return examine(data, between=between, **known)

        examiner.examine = slowly
        job = client.post("/v1/jobs", content=clip).json()["id"]
        assert begun.wait(20)
        assert client.post("/v1/analyze", content=DIM).json()["action"] == "pass"
        assert finished(client, client.post("/v1/jobs", content=BRIGHT).json()["id"], {})["action"] == "review"
        assert client.get(f"/v1/jobs/{job}").json()["state"] == "running"
        start = time.monotonic()
    assert time.monotonic() - start < 20  # it is given back
    with served(settings) as client:
        assert finished(client, job, {})["action"] == "block"  # the attempt that was broken off does not count
