"""What the service answers with, as OpenAPI describes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sdk.errors import SdkError
from sdk.serve.jobs import Job

Action = Literal["pass", "review", "block"]

EXAMPLE: Any = {
    "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "state": "done",
    "content": "default",
    "input_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "created": "2026-11-21T12:30:00.250Z",
    "finished": "2026-11-21T12:30:00.412Z",
    "action": "review",
    "reasons": ["psccnet-lite: score 0.998 reaches 0.997"],
    "models": [{"model": "psccnet-lite", "score": 0.998, "verdict": "suspicious", "reason": "score 0.998 reaches "
                "0.997, as 5 % of authentic frames do", "mask_share": 0.031}],
    "video": None,
    "error": None,
    "problem": None,
    "record": {"schema": "imdl.evidence/3"},
}  # fmt: skip


def shown(example: Any) -> ConfigDict:  # noqa: ANN401  JSON
    """Settings of a document that OpenAPI shows as ``example``."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class Document(BaseModel):
    """Base of all: nothing that is not described."""

    model_config = ConfigDict(extra="forbid")


class Failure(Document):
    """What happened, and what to do about it."""

    type: str
    problem: str
    remedy: str


class Refusal(Document):
    """Why a request was turned away."""

    model_config = shown({"error": {"type": "ServiceRefused", "problem": "8 uploads are under way, as many as may",
                                    "remedy": "come again"}})  # fmt: skip

    error: Failure


class Said(Document):
    """What one model said."""

    model: str
    score: float = Field(ge=0, le=1, description="Probability that the frame was manipulated anywhere.")
    verdict: Literal["manipulated", "suspicious", "inconclusive", "no_evidence"]
    reason: str
    mask_share: float | None = Field(description="Share of the frame's pixels that are in the mask.")


class Still(Document):
    """One frame of a video."""

    frame: int = Field(ge=0, description="Its number, from 0.")
    time_s: float | None = Field(description="When it is shown, from the start.")
    action: Action = Field(description="What the policy would do if it were all.")
    scores: dict[str, float] = Field(description="By model.")


class Span(Document):
    """Frames in a row with one verdict."""

    verdict: Literal["manipulated", "suspicious", "inconclusive", "no_evidence"]
    first: int
    last: int
    start_s: float | None
    end_s: float | None = Field(description="Time of its last frame.")
    frames: int
    peak_score: float = Field(ge=0, le=1)
    peak: int = Field(description="The frame with that score.")


class Watched(Document):
    """What one model said about the frames of a video."""

    damaged: int = Field(description="Frames that the decoder had to repair; they are inconclusive.")
    verdicts: dict[str, int] = Field(description="Frames by verdict.")
    spans: list[Span] = Field(description="In order.")
    joined: int = Field(description="How often two spans were made one, because there were too many.")


class Video(Document):
    """What was found in all frames of a video."""

    frames: int = Field(ge=1, description="Those that were analysed.")
    actions: dict[str, int] = Field(description="How many would lead to each action by themselves.")
    worst: list[Still] = Field(description="The most suspicious first: `models` and pictures are about that one.")
    models: dict[str, Watched]


class JobDocument(Document):
    """One upload, and what was decided about it."""

    model_config = shown(EXAMPLE)

    id: str = Field(pattern="^[0-9a-f]{32}$")
    state: Literal["queued", "running", "done", "failed"]
    content: str = Field(description="Content type, one of the policy's.")
    input_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created: str
    finished: str | None
    action: Action | None = Field(description="What the policy does. `pass` never means that a picture is authentic.")
    reasons: list[str]
    models: list[Said] = Field(description="What each said; of a video about its most suspicious frame.")
    video: Video | None = Field(description="Of a video, what was found in all its frames.")
    error: Failure | None = Field(
        description="Why the file could not be analysed, or a video not to its end; the policy decided all the same."
    )
    problem: str | None = Field(description="Why the job failed: a fault of the service, not of the file.")
    record: dict[str, Any] | None = Field(description="The evidence, as `GET /v1/jobs/{id}/record` gives it.")


def job_document(job: Job, text: str | None) -> JobDocument:
    """The document on a job whose record, if it has one, is ``text``."""
    record: dict[str, Any] | None = json.loads(text) if text else None
    results = record["results"] if record else []
    error = record["error"] if record else None
    return JobDocument(
        id=job.id,
        state=job.state,  # type: ignore[arg-type]
        content=job.content,
        input_sha256=job.input_sha256,
        created=moment(job.created),
        finished=None if job.finished is None else moment(job.finished),
        action=job.action,  # type: ignore[arg-type]
        reasons=record["decision"]["reasons"] if record else [],
        models=[
            Said(
                model=result["model"],
                score=result["score"],
                verdict=result["verdict"]["name"],
                reason=result["verdict"]["reason"],
                mask_share=result["mask_share"],
            )
            for result in results
        ],
        video=Video.model_validate(record["video"]) if record and record.get("video") else None,
        error=Failure(**error) if error else None,
        problem=job.problem,
        record=record,
    )


def refusal(error: SdkError) -> Refusal:
    """The document on an error."""
    return Refusal(error=Failure(type=type(error).__name__, problem=error.problem, remedy=error.remedy))


def moment(seconds: float) -> str:
    """A time in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
