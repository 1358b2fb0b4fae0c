"""The service as its clients see it."""

from __future__ import annotations

import functools
import json
import shutil
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import cv2
import jsonschema
import numpy as np
import pytest
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from sdk.evidence import chain, record
from tests.sdk.files import saved, scene
from tests.sdk.serve.conftest import BRIGHT, DIM, WHITE, finished, picture, served


@pytest.fixture
def post(service):
    def posts(data: bytes, path: str = "/v1/analyze", key: str = "alice", **options: object):
        return service.post(path, content=data, headers=service.keys[key], **options)

    return posts


@pytest.mark.parametrize(("data", "action"), [(DIM, "pass"), (BRIGHT, "review"), (WHITE, "block")])
def test_an_upload_is_decided_about(post, data, action):
    answer = post(data)
    document = answer.json()
    assert (answer.status_code, document["state"], document["action"]) == (200, "done", action)
    assert document["models"][0]["score"] == document["record"]["results"][0]["score"]
    jsonschema.validate(document["record"], json.loads(record.SCHEMA_FILE.read_text()))


def test_the_content_type_chooses_the_thresholds(post):
    assert post(picture(11), params={"content": "claim"}).json()["action"] == "review"
    answer = post(picture(11), params={"content": "clami"})
    assert (answer.status_code, answer.json()["error"]["remedy"]) == (422, "did you mean 'claim'?")


@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/jobs"])
def test_a_content_type_of_too_many_letters_is_refused(post, path):
    answer = post(picture(11), path, params={"content": "c" * 65})
    assert (answer.status_code, "64" in answer.json()["error"]["problem"]) == (422, True)


def test_a_form_is_as_good_as_raw_bytes(service, post):
    form = service.post("/v1/analyze", files={"file": ("holiday.png", DIM)}, headers=service.keys["alice"])
    assert form.json()["id"] == post(DIM).json()["id"]
    assert "holiday" not in form.text


@pytest.mark.parametrize(("form", "query", "action"), [("claim", None, "review"), ("claim", "claim", "review"),
                                                      (None, "claim", "review"), (None, None, "pass")])  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/jobs"])
def test_a_form_names_the_content_type_as_the_query_does(service, path, form, query, action):
    named = [{} if value is None else {"content": value} for value in (form, query)]
    files = {"file": ("a.png", DIM)}
    answer = service.post(path, files=files, data=named[0], params=named[1], headers=service.keys["alice"])
    document = finished(service, answer.json()["id"], service.keys["alice"])
    assert (document["content"], document["action"]) == (form or query or "default", action)


@pytest.mark.parametrize(
    ("form", "query", "problem"),
    [("claim", "default", "names several"), (["claim", "default"], None, "names several"), ("clami", None, "'clami'"),
     ("c" * 65, None, "more than 64 letters"), ("", None, "named ''")],
)  # fmt: skip
def test_a_content_type_that_a_form_cannot_name_is_refused(service, form, query, problem):
    params = {} if query is None else {"content": query}
    options = {"data": {"content": form}, "params": params, "headers": service.keys["alice"]}
    answer = service.post("/v1/analyze", files={"file": ("a.png", DIM)}, **options)
    assert (answer.status_code, problem in answer.json()["error"]["problem"]) == (422, True)


@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        ({"content": b""}, 422, "is empty"),
        ({"files": {"image": ("a.png", DIM)}}, 422, "no file named 'file'"),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}}, 422, "cannot be read"),
        ({"content": b"--x\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 422, "form"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_what_would(service, options, status, problem):
    headers = service.keys["alice"] | options.pop("headers", {})
    answer = service.post("/v1/analyze", headers=headers, **options)
    assert answer.status_code == status
    assert problem in answer.json()["error"]["problem"]


def test_a_file_that_cannot_be_analysed_is_decided_about(post):
    document = post(b"\xff\xd8\xff no image").json()
    assert (document["action"], document["error"]["type"]) == ("review", "DecodeFailed")
    assert document["models"] == []


def test_damaged_files_are_answered_and_end_nothing(service, post, rng):
    whole = saved(scene(rng, 96, 120), "JPEG")
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(len(whole) // 4, len(whole) + 1)])
        for place in rng.integers(0, len(damaged), rng.integers(1, 12)):
            damaged[place] = rng.integers(0, 256)
        answer = post(bytes(damaged))
        assert (answer.status_code, answer.json()["state"]) == (200, "done")
    assert service.get("/readyz").status_code == 200


def test_the_same_upload_again_costs_no_examination(service, post):
    before = post(picture(21)).json()
    examined = service.get("/metrics").text.split("imdl_actions_total{", 1)[1]
    assert post(picture(21)).json() == before
    assert post(picture(21), "/v1/jobs").json() == before
    assert service.get("/metrics").text.split("imdl_actions_total{", 1)[1].split("\n")[0] == examined.split("\n")[0]


def test_uploads_that_come_at_once_are_examined_once(service, post):
    waiting = threading.Barrier(6)

    def send() -> dict:
        waiting.wait()
        return post(picture(22)).json()

    with ThreadPoolExecutor(6) as threads:
        answers = [each.result() for each in [threads.submit(send) for _ in range(6)]]
    assert all(answer == answers[0] for answer in answers)


def test_a_job_is_queued_then_answered(service, post):
    answer = post(picture(31, low=100, high=250), "/v1/jobs")
    job = answer.json()
    assert (answer.status_code, job["state"] in {"queued", "running", "done"}) == (202, True)
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    done = finished(service, job["id"], service.keys["alice"])
    assert (done["state"], done["action"], done["record"]["shadow"]["action"]) == ("done", "review", "review")


def test_a_job_is_its_owners_alone(service, post):
    job = post(DIM).json()["id"]
    for path in ("", "/record", "/heatmap.png", "/overlay.png"):
        assert service.get(f"/v1/jobs/{job}{path}", headers=service.keys["bob"]).status_code == 404
    other = post(DIM, key="bob").json()
    assert (other["id"] != job, other["input_sha256"]) == (True, post(DIM).json()["input_sha256"])


def test_the_record_is_the_sealed_text(service, post):
    document = post(DIM).json()
    text = service.get(f"/v1/jobs/{document['id']}/record", headers=service.keys["alice"]).text
    assert json.loads(text) == document["record"]
    assert record.dumps(json.loads(text)) == text


def test_all_records_are_one_chain(service, post):
    for seed in (41, 42, 43):
        post(picture(seed))

    from sdk.serve.tables import records

    with service.app.state.service.database.read() as connection:
        texts = list(connection.execute(select(records.c.text).order_by(records.c.number)).scalars())
    assert len(texts) > 3
    assert chain.check_chain(texts) == record.digest(texts[-1])


def test_pictures_of_a_flagged_upload_are_kept(service, post):
    job = post(BRIGHT).json()["id"]
    paths = (f"/v1/jobs/{job}/{name}.png" for name in ("heatmap", "overlay"))
    heatmap, overlay = (service.get(path, headers=service.keys["alice"]).content for path in paths)
    assert cv2.imdecode(np.frombuffer(heatmap, np.uint8), cv2.IMREAD_UNCHANGED).shape == (140, 180)
    assert cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_UNCHANGED).shape[1] == 540


@pytest.mark.parametrize("name", ["heatmap", "overlay"])
def test_a_picture_is_of_the_first_model_unless_one_is_named(service, post, name):
    path = f"/v1/jobs/{post(BRIGHT).json()['id']}/{name}.png"
    first, empty, named = (service.get(path + query, headers=service.keys["alice"]) for query in
                           ("", "?model=", "?model=toy"))  # fmt: skip
    assert (first.status_code, first.content) == (empty.status_code, empty.content) == (200, named.content)
    assert service.get(f"{path}?model=another", headers=service.keys["alice"]).status_code == 404


def test_pictures_of_a_large_upload_are_small_and_fit_each_other(service, post):
    job = post(picture(4, low=100, high=250, size=(900, 1500))).json()["id"]
    for name, size in (("heatmap", (307, 512)), ("overlay", (614, 1024))):
        data = service.get(f"/v1/jobs/{job}/{name}.png", headers=service.keys["alice"]).content
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape
        assert found[1] == size[1]
        assert found[0] == size[0] or (name == "overlay" and found[0] > size[0])  # its legend lies below the frame


def test_of_an_upload_that_passes_no_picture_is_kept_unless_all_are(service, post, make_settings):
    job = post(DIM).json()["id"]
    for name in ("heatmap", "overlay"):
        assert service.get(f"/v1/jobs/{job}/{name}.png", headers=service.keys["alice"]).status_code == 404
    for keep, data, status in (("all", DIM, 200), ("none", BRIGHT, 404)):
        with served(make_settings(anyone=True, keep=keep)) as client:
            job = client.post("/v1/analyze", content=data).json()["id"]
            assert client.get(f"/v1/jobs/{job}/heatmap.png").status_code == status
            assert client.get(f"/v1/jobs/{job}/overlay.png").status_code == status
            assert client.get(f"/v1/jobs/{job}/heatmap.png?model=none").status_code == 404


def test_no_file_is_kept_after_its_answer(service, post):
    from sqlalchemy import func

    from sdk.serve.tables import uploads

    finished(service, post(picture(51), "/v1/jobs").json()["id"], service.keys["alice"])
    with service.app.state.service.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(uploads)).scalar_one() == 0


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer imdl_nobody"}, {"Authorization": "Basic eA=="}])
def test_without_a_key_nothing_is_served(service, headers):
    for method, path in [("POST", "/v1/analyze"), ("POST", "/v1/jobs"), ("GET", f"/v1/jobs/{'0' * 32}"),
                         ("GET", "/v1/review/queue")]:  # fmt: skip
        answer = service.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_other_origins_get_no_permission(service):
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = service.options("/v1/analyze", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_metrics_tell_what_happened(service, post):
    post(BRIGHT)
    post(b"")
    text = service.get("/metrics").text
    for line in (
        'imdl_actions_total{action="review",content="default"}', 'imdl_stage_seconds_count{model="toy",stage="decode"}',
        'imdl_rejects_total{reason="422 ServiceRefused"}', 'imdl_verdicts_total{model="toy",verdict="suspicious"}',
        'imdl_score_bucket{le="0.999",model="toy"}', 'imdl_queue_age_seconds{kind="image"} 0.0', "imdl_inflight 0.0",
        'imdl_request_seconds_count{route="/v1/analyze",status="200"}', 'imdl_shadow_actions_total{action="review"',
        'imdl_model_info{artifact="',
    ):  # fmt: skip
        assert line in text


@pytest.mark.parametrize("decode", ["worker", "fresh"])
def test_uploads_are_decoded_as_the_settings_say(make_settings, decode):
    with served(make_settings(anyone=True, decode=decode)) as client:
        examiner = client.app.state.service.desk._examiner
        decoders = [examiner._metadata, *(analyzer._decoder for analyzer in examiner.analyzers.values())]
        assert [decoder.mode for decoder in decoders] == [decode] * 2
        assert client.post("/v1/analyze", content=picture(64)).json()["error"] is None


def test_what_is_too_much_is_refused_with_a_time_to_come_again(make_settings):
    with served(make_settings(anyone=True, per_minute=2, max_bytes=6000, max_bytes_inflight=12_000)) as client:
        with client.app.state.service.gate.entered("another") as place:
            place.hold(11_500)
            assert client.post("/v1/analyze", content=bytes(501)).status_code == 429
        assert client.post("/v1/analyze", content=b"x").status_code == 200
        answer = client.post("/v1/analyze", content=b"x")
        assert (answer.status_code, 25 <= int(answer.headers["retry-after"]) <= 31) == (429, True)
        assert "2 uploads a minute" in answer.json()["error"]["problem"]


def test_a_full_queue_refuses_new_jobs_but_knows_the_old(make_settings):
    with served(make_settings(anyone=True, max_queue=1)) as client:
        desk = client.app.state.service.desk
        held = [desk._images._free.acquire() for _ in range(1)]
        first = client.post("/v1/jobs", content=picture(61))
        text = client.get("/metrics").text
        for kind, length in (("image", "1.0"), ("video", "0.0")):
            assert f'imdl_queue_length{{kind="{kind}"}} {length}' in text
        second = client.post("/v1/jobs", content=picture(62))
        assert (first.status_code, second.status_code) == (202, 429)
        assert int(second.headers["retry-after"]) >= 1
        assert client.post("/v1/jobs", content=picture(61)).status_code == 202
        del held
        desk._images._free.release()
        assert finished(client, first.json()["id"], {})["state"] == "done"
        assert client.post("/v1/jobs", content=picture(62)).status_code == 202


def test_one_key_leaves_the_others_room_in_the_queue(make_settings):
    with served(make_settings(max_queue=4)) as client:
        keys, desk = client.app.state.service.keys, client.app.state.service.desk
        desk._images._free.acquire()
        of = {name: {"Authorization": f"Bearer {keys.add(name, role='submit')}"} for name in ("alice", "bob", "carol")}
        names = ("alice", "alice", "alice", "bob", "bob", "carol")
        answers = [client.post("/v1/jobs", content=b"%d" % n, headers=of[name]) for n, name in enumerate(names)]
        assert [answer.status_code for answer in answers] == [202, 202, 429, 202, 202, 429]
        problems = [answers[n].json()["error"]["problem"] for n in (2, 5)]
        assert problems == ["2 jobs of this key wait, which is its share", "4 jobs wait, as many as may"]
        text = client.get("/metrics").text
        for bound in ("max_queue", "share of max_queue"):
            assert f'imdl_rejects_total{{reason="429 {bound}"}} 1.0' in text
        desk._images._free.release()


def test_a_fault_of_the_machine_is_no_answer_and_is_tried_again(make_settings, monkeypatch):
    from sdk.errors import RunFailed

    with served(make_settings(anyone=True, max_attempts=2)) as client:
        desk, faults = client.app.state.service.desk, []

        def fail(*_: object, **__: object) -> None:
            faults.append(1)
            raise RunFailed("no memory", remedy="buy some")

        with monkeypatch.context() as patched:
            patched.setattr(desk._examiner, "examine", fail)
            assert client.post("/v1/analyze", content=DIM).status_code == 503
            job = client.post("/v1/jobs", content=BRIGHT).json()["id"]
            failed = finished(client, job, {})
        assert (failed["state"], failed["problem"], len(faults)) == ("failed", "no memory", 3)
        assert client.post("/v1/jobs", content=BRIGHT).json()["state"] in ("queued", "running")
        assert finished(client, job, {})["action"] == "review"


@pytest.mark.parametrize(
    "error",
    [OperationalError("SELECT", {}, OSError("connection refused")), NoConnection("SELECT: no connection in the pool")],
    ids=["refused", "none free"],
)
def test_a_database_that_is_away_is_a_reason_to_come_again(service, post, monkeypatch, error):
    def away(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(service.app.state.service.jobs, "get", away)
        answers = [post(DIM), post(DIM, "/v1/jobs"), service.get(f"/v1/jobs/{'0' * 32}", headers=service.keys["alice"])]
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "5")] * 3
    assert "SELECT" not in answers[0].text
    assert post(DIM).status_code == 200


def test_a_full_disk_is_told_until_there_is_room(make_settings, monkeypatch, caplog):
    """SQLite's own bound on its pages stands for the disk's, and the size of the disk for what is free on it."""
    room, free = {"pages": 0}, {"bytes": 0}
    with served(make_settings(anyone=True, keep="all")) as client:
        database = client.app.state.service.database
        event.listen(database.engine, "begin", functools.partial(_bound, room))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free["bytes"], total=2**40))
        for path in ("/v1/analyze", "/v1/jobs"):
            answer = client.post(path, content=picture(71, size=(300, 400)))
            assert (answer.status_code, "disk is full" in answer.json()["error"]["problem"]) == (503, True)
            assert "disk is full" in caplog.text
            assert "disk is full" in client.get("/readyz").json()["error"]["problem"]
        room["pages"] = 1 << 30
        assert client.get("/readyz").status_code == 503
        free["bytes"] = 1 << 40
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/analyze", content=picture(71, size=(300, 400))).status_code == 200


def _bound(room: dict[str, int], connection: Connection) -> None:
    connection.connection.driver_connection.execute(f"PRAGMA max_page_count = {room['pages'] or 1}").close()


def test_those_who_wait_for_the_service_are_no_rejects(make_settings):
    with served(make_settings(anyone=True)) as client:
        client.app.state.service.gate.draining = True
        assert client.get("/readyz").status_code == 503
        assert "imdl_rejects_total{" not in client.get("/metrics").text
