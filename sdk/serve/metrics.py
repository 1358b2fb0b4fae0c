"""What Prometheus is told, from a registry of this service's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sdk.serve.jobs import Kind

if TYPE_CHECKING:
    from sdk.examiner import Examination, Examiner

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SCORES = (0.01, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99, 0.995, 0.999, 0.9999, 0.99999, 1.0)
"""Finer near 1, where the thresholds are."""


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Histogram(
            "imdl_request_seconds",
            "Requests, by route and status",
            ["route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.stages = Histogram(
            "imdl_stage_seconds", "Stages of an examination", ["model", "stage"], buckets=SECONDS, registry=registry
        )
        self.rejects = Counter("imdl_rejects", "Requests that were turned away", ["reason"], registry=registry)
        self.actions = Counter("imdl_actions", "Decisions", ["action", "content"], registry=registry)
        self.trial = Counter(
            "imdl_shadow_actions", "Decisions of the policy on trial", ["action", "decided"], registry=registry
        )
        self.verdicts = Counter("imdl_verdicts", "Verdicts", ["model", "verdict"], registry=registry)
        self.frames = Counter("imdl_frames", "Frames of videos", ["model", "verdict"], registry=registry)
        self.unreadable = Counter("imdl_unreadable", "Files that could not be analysed", ["error"], registry=registry)
        self.failures = Counter("imdl_failures", "Examinations that the machine failed", ["error"], registry=registry)
        self.repeats = Counter("imdl_repeats", "Uploads that were answered from a record", registry=registry)
        self.scores = Histogram(
            "imdl_score", "Scores, to notice when uploads or models drift", ["model"], buckets=SCORES, registry=registry
        )
        self.deliveries = Counter("imdl_deliveries", "Attempts to deliver a webhook", ["outcome"], registry=registry)
        self.model = Gauge(
            "imdl_model_info", "Models that are run", ["model", "version", "artifact", "backend", "precision"],
            registry=registry,
        )  # fmt: skip
        self.queue = Gauge("imdl_queue_length", "Jobs that wait", ["kind"], registry=registry)
        self.age = Gauge(
            "imdl_queue_age_seconds", "For how long the oldest of them has waited", ["kind"], registry=registry
        )
        self.inflight = Gauge("imdl_inflight", "Uploads that are received or waited for", registry=registry)
        self.inflight_bytes = Gauge("imdl_inflight_bytes", "Bytes of them", registry=registry)

    def tell_models(self, examiner: Examiner) -> None:
        """Name the models that are run."""
        for name, analyzer in examiner.analyzers.items():
            choice, terms = analyzer.choice, analyzer.artifact
            labels = (name, terms.contract.version, terms.digest[:12], choice.backend, choice.precision)
            self.model.labels(*labels).set(1)

    def count(self, found: Examination) -> None:
        """Count one examination."""
        decision = found.decision
        self.actions.labels(decision.action, decision.content).inc()
        if found.shadow:
            self.trial.labels(found.shadow.action, decision.action).inc()
        if found.error:
            self.unreadable.labels(type(found.error).__name__).inc()
        if found.video:  # its worst frame would make scores seem to drift
            for model, summary in found.video.summaries.items():
                for verdict, frames in summary.verdicts.items():
                    self.frames.labels(model, verdict).inc(frames)
            return
        for model, analysis in found.analyses.items():
            self.verdicts.labels(model, analysis.verdict.name).inc()
            self.scores.labels(model).observe(analysis.score)
            for stage, ms in analysis.latency.stages.items():
                self.stages.labels(model, stage).observe(ms / 1e3)

    def exposed(self, *, queue: Callable[[Kind], tuple[int, float]], inflight: int, inflight_bytes: int) -> bytes:
        """Everything in Prometheus' text format."""
        for kind in get_args(Kind):
            length, age = queue(kind)
            self.queue.labels(kind).set(length)
            self.age.labels(kind).set(age)
        self.inflight.set(inflight)
        self.inflight_bytes.set(inflight_bytes)
        return generate_latest(self._registry)
