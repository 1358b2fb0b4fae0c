"""A summary says what was found when, and stays small however long the stream is."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

import sdk
from sdk.errors import DecodeFailed
from sdk.results import SCHEMA as ANALYSIS
from sdk.streaming import tally
from sdk.streaming.results import GRAVITY, SCHEMA, Moment
from sdk.streaming.tally import Tally

verdicts = st.lists(st.tuples(st.sampled_from(GRAVITY), st.floats(0, 1), st.integers(0, 3)), max_size=60)


def counted(found) -> Tally:
    """A tally of moments (verdict, score, dropped before it), ten a second."""
    made, index = Tally(), 0
    for name, score, dropped in found:
        index += dropped
        analysis = SimpleNamespace(verdict=SimpleNamespace(name=name), score=score)
        made.add(Moment(index=index, time_s=index / 10, dropped=dropped, analysis=analysis), is_damaged=False)
        index += 1
    return made


def validated(value: object, kind: str | None = None) -> None:
    """Hold ``value`` to the schema, or to one definition of it."""
    schema = json.loads(SCHEMA.read_text())
    analysis = Resource.from_contents(json.loads(ANALYSIS.read_text()))
    registry = Registry().with_resource("analysis.schema.json", analysis)
    schema = {**schema, "oneOf": [{"$ref": f"#/$defs/{kind}"}]} if kind else schema
    jsonschema.Draft202012Validator(schema, registry=registry).validate(value)


@given(found=verdicts)
def test_spans_are_the_runs_of_equal_verdicts_and_cover_every_frame(found):
    summary = counted(found).summary()
    names = [name for name, _, _ in found]
    runs = [name for name, before in zip(names, [None, *names], strict=False) if name != before]
    assert [span.verdict for span in summary.spans] == runs
    assert sum(span.frames for span in summary.spans) == summary.frames == sum(summary.verdicts.values()) == len(found)
    assert summary.dropped == sum(dropped for _, _, dropped in found)
    assert summary.found == bool({"suspicious", "manipulated"} & set(names))
    assert max((span.peak_score for span in summary.spans), default=0) == max((s for _, s, _ in found), default=0)
    for span in summary.spans:
        assert span.first <= span.peak <= span.last
        assert (span.start_s, span.end_s) == (span.first / 10, span.last / 10)
    validated(summary.to_dict(), "summary")


def test_what_failed_is_counted_and_in_no_span():
    made, failure = counted([("no_evidence", 0.1, 0)] * 2), DecodeFailed("torn", remedy="mend it")
    made.add(Moment(index=2, time_s=None, dropped=1, analysis=None, error=failure), is_damaged=False)
    summary = made.summary()
    assert (summary.frames, summary.failed, summary.dropped) == (2, 1, 1)
    assert [span.frames for span in summary.spans] == [2]


@given(found=verdicts, most=st.integers(2, 6))
def test_spans_are_joined_beyond_their_number_and_lose_no_frame_and_no_peak(found, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "MAX_SPANS", most)
        summary = counted(found).summary()
    assert len(summary.spans) <= most
    assert sum(span.frames for span in summary.spans) == len(found)
    assert max((span.peak_score for span in summary.spans), default=0) == max((s for _, s, _ in found), default=0)
    gravest = max((name for name, _, _ in found), key=GRAVITY.index, default=None)
    assert max((span.verdict for span in summary.spans), key=GRAVITY.index, default=None) == gravest
    assert all(a.last < b.first for a, b in zip(summary.spans, summary.spans[1:], strict=False))


def test_the_shortest_neighbours_are_joined_and_the_gravest_verdict_stays(monkeypatch):
    monkeypatch.setattr(tally, "MAX_SPANS", 3)
    runs = [("no_evidence", 5), ("suspicious", 1), ("no_evidence", 2), ("manipulated", 4)]
    summary = counted([(name, 0.5, 0) for name, count in runs for _ in range(count)]).summary()
    assert [(span.verdict, span.frames) for span in summary.spans] == [
        ("no_evidence", 5), ("suspicious", 3), ("manipulated", 4),
    ]  # fmt: skip
    assert summary.joined == 1


def test_how_it_ended_is_said_once():
    made = Tally()
    assert made.summary().ended == "running"
    made.end("failed", "no power")
    made.end("closed")
    summary = made.summary()
    assert (summary.ended, summary.problem) == ("failed", "no power")
    assert made.summary().seconds == summary.seconds


def test_moments_and_summaries_are_as_the_schema_has_them(toy_path, frame):
    with sdk.load(toy_path, threads=1) as analyzer:
        moments = sdk.stream([(0.0, frame), (0.5, frame)], analyzer)
        for moment in moments:
            validated(json.loads(moment.to_json()))
    validated({"source": "a.mp4", "summary": json.loads(moments.summary.to_json())})
    with pytest.raises(jsonschema.ValidationError, match="is not valid under any of the given schemas"):
        validated({"summary": {}})
