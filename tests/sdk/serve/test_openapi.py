"""The OpenAPI document is kept: whatever it allows or forbids, the service answers as it says, and never with a 500."""

from __future__ import annotations

import json
import re

import hypothesis
import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import requests  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis import checks  # noqa: E402
from schemathesis.specs.openapi import checks as openapi  # noqa: E402

from sdk.serve.documents import Document  # noqa: E402
from tests.sdk.serve.conftest import BRIGHT, served  # noqa: E402

EXAMPLES = 12
"""Requests that are tried of each operation."""
KEPT = [
    checks.not_a_server_error,
    openapi.response_schema_conformance,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
]


@pytest.fixture(scope="module")
def client(make_settings):
    """A client of a service that holds one flagged upload, ``client.job``."""
    with served(make_settings(anyone=True, per_minute=100_000)) as client:
        client.job = client.post("/v1/analyze", content=BRIGHT).json()["id"]
        yield client


def test_every_operation_answers_as_described(client):
    # Not from_asgi: that starts the application once more, whose service is still loading when it is asked.
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 14
    for operation in operations:

        @hypothesis.given(case=operation.as_strategy(), is_known=st.booleans())
        @hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        def answers(case, is_known):
            if case.path == "/metrics":
                return  # text, not a document
            if is_known and "job_id" in case.path_parameters:
                case.path_parameters["job_id"] = client.job  # of ids that are drawn none is one, and all end in a 404
            answer = client.request(**as_request(case))
            case.validate_response(schemathesis.Response.from_any(answer), checks=KEPT)

        answers()


def as_request(case) -> dict:
    """The request of a case, for the client that holds the started service; its own encoder takes no odd forms."""
    made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    return {"method": made.method, "url": made.url, "headers": dict(made.headers), "content": made.body or b""}


def test_a_form_with_a_number_for_a_file_is_answered(client):
    """What is drawn hangs on the constants of all modules that are loaded, so that this one came and went."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    case = schema["/v1/analyze"]["POST"].Case(body={"file": 3}, media_type="multipart/form-data")
    assert client.request(**as_request(case)).status_code in (200, 422)


def test_uploads_that_are_waited_for_are_described_as_jobs_are(client):
    paths = client.get("/openapi.json").json()["paths"]
    analyze, jobs = (paths[path]["post"] for path in ("/v1/analyze", "/v1/jobs"))
    for told in ("security", "tags"):
        assert analyze[told] == jobs[told]
    assert analyze["parameters"] == [each for each in jobs["parameters"] if each["name"] != "url"]
    assert analyze["requestBody"] == jobs["requestBody"] | {"required": True}
    assert analyze["responses"].keys() - {"200"} == jobs["responses"].keys() - {"202"}
    answers = [each["content"]["application/json"]["schema"] for each in
               (analyze["responses"]["200"], jobs["responses"]["202"])]  # fmt: skip
    assert answers == [{"$ref": "#/components/schemas/JobDocument"}] * 2


def test_the_document_has_examples_and_words(client):
    document = client.get("/openapi.json").json()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document["paths"])))
    assert named >= {"JobDocument", "Refusal", "Queue", "Decision", "Review"}
    models = {model.__name__: model for model in Document.__subclasses__()}
    for name in named:
        assert document["components"]["schemas"][name]["examples"]
        (example,) = models[name].model_json_schema()["examples"]  # in the document its nulls are left out
        assert models[name].model_validate(example).model_dump(mode="json") == example
    assert all(each.get("summary") or each.get("description")
               for path in document["paths"].values() for each in path.values())  # fmt: skip
    assert "authentic" in document["info"]["description"]
