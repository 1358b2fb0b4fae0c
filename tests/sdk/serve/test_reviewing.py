"""What reviewers can see and do."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.sdk.serve.conftest import BRIGHT, DIM, WHITE, picture, served


@pytest.fixture(scope="module")
def flagged(service) -> dict[str, str]:
    """Jobs of two tenants: one to be reviewed, one blocked, one that passed."""
    uploads = {"review": (BRIGHT, "alice"), "block": (WHITE, "bob"), "pass": (DIM, "alice")}
    return {
        action: service.post("/v1/analyze", content=data, headers=service.keys[key]).json()["id"]
        for action, (data, key) in uploads.items()
    }


@pytest.fixture
def carol(service):
    def asks(path: str, method: str = "GET", **options: object):
        return service.request(method, path, headers=service.keys["carol"], **options)

    return asks


def test_the_queue_holds_what_was_flagged_the_blocked_first(carol, flagged):
    queue = carol("/v1/review/queue").json()
    assert [entry["id"] for entry in queue["entries"]] == [flagged["block"], flagged["review"]]
    assert (queue["total"], len(carol("/v1/review/queue?limit=1").json()["entries"])) == (2, 1)


def test_a_reviewer_sees_uploads_of_all_that_were_flagged_and_no_other(carol, flagged):
    for action in ("review", "block"):
        found = carol(f"/v1/review/{flagged[action]}").json()
        assert (found["job"]["action"], found["pictures"], found["decisions"]) == (action, True, [])
        assert carol(f"/v1/review/{flagged[action]}/frame.jpg").content[:2] == b"\xff\xd8"
        assert carol(f"/v1/review/{flagged[action]}/heatmap.png").content[:4] == b"\x89PNG"
    for path in ("", "/frame.jpg", "/heatmap.png"):
        assert carol(f"/v1/review/{flagged['pass']}{path}").status_code == 404
    decision = {"decision": "confirm"}
    assert carol(f"/v1/review/{flagged['pass']}", "POST", json=decision).status_code == 404


def test_who_hands_in_may_not_review(service, flagged):
    for path in ("queue", flagged["review"], f"{flagged['review']}/frame.jpg", "export/decisions.csv"):
        assert service.get(f"/v1/review/{path}", headers=service.keys["alice"]).status_code == 403


SENSELESS = [
    {},
    {"decision": "maybe"},
    {"decision": 3},
    {"decision": "confirm", "note": "x" * 2001},
    {"decision": "confirm", "note": "a\0b"},
    {"decision": "confirm", "reviewer": "bob"},
]


@pytest.mark.parametrize("body", SENSELESS, ids=str)
def test_a_decision_that_makes_no_sense_is_refused(carol, flagged, body):
    assert carol(f"/v1/review/{flagged['review']}", "POST", json=body).status_code == 422


@pytest.mark.parametrize("pieces", [b"x" * 70_000, [b"x" * 10] * 2], ids=["long", "of unknown length"])
def test_a_body_without_bounds_is_not_read_and_needs_no_key_for_that(service, flagged, pieces):
    answer = service.post(f"/v1/review/{flagged['review']}", content=pieces)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "ServiceRefused")


def test_decisions_are_stored_and_exported_as_labels(make_settings):
    with served(make_settings(anyone=True)) as client:
        job = client.post("/v1/analyze", content=picture(71, low=100, high=250)).json()
        for word, note in (("unsure", "two\nlines"), ("confirm", '=HYPERLINK("x")')):
            answer = client.post(f"/v1/review/{job['id']}", json={"decision": word, "note": note})
            assert (answer.status_code, answer.json()["decision"], answer.json()["reviewer"]) == (201, word, "anyone")
        assert client.get("/v1/review/queue").json() == {"total": 0, "entries": []}
        assert [each["decision"] for each in client.get(f"/v1/review/{job['id']}").json()["decisions"]] == [
            "unsure", "confirm",
        ]  # fmt: skip
        lines = client.get("/v1/review/export/decisions.jsonl").text.splitlines()
        rows = list(csv.DictReader(io.StringIO(client.get("/v1/review/export/decisions.csv").text)))
        assert client.get("/v1/review/export/decisions.xlsx").status_code == 404
    assert (
        [json.loads(line)["decision"] for line in lines] == [row["decision"] for row in rows] == ["unsure", "confirm"]
    )
    assert [json.loads(line)["note"] for line in lines] == ["two\nlines", '=HYPERLINK("x")']
    assert [row["note"] for row in rows] == ["two\nlines", '\'=HYPERLINK("x")']
    assert {row["input_sha256"] for row in rows} == {job["input_sha256"]}


def test_the_page_loads_nothing_from_elsewhere(service):
    for name in ("", "/review.css", "/review.js", "/picture.js"):
        answer = service.get(f"/review{name}")
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for name in ("none.js", "..%2fapp.py", "%2e%2e/app.py"):
        assert service.get(f"/review/{name}").status_code == 404
