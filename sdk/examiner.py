"""Several models, a policy and a shadow policy on one upload: what was found, what is done, and the evidence for it."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk import policy_file
from sdk.analyzer import load
from sdk.errors import AnalyzerClosed, BadSetting, Faults, LargePicture, SdkError
from sdk.evidence import pictures, record
from sdk.footage import REFUSALS, Footage, Watched, watch
from sdk.metadata import MetadataReader
from sdk.policy import SEVERE, Decision, Finding, Policy, Threshold, Thresholds
from sdk.signatures import HEAD, is_video

if TYPE_CHECKING:
    from sdk.analyzer import Analyzer
    from sdk.artifact import Artifact
    from sdk.results import Analysis
    from sdk.video.limits import VideoLimits


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What was found in one upload, and what is done with it."""

    analyses: Mapping[str, Analysis]
    """By model; of a video those of its most suspicious frame; empty if the file could not be analysed."""
    decision: Decision
    shadow: Decision | None
    """What the other policy would have done."""
    error: SdkError | None
    """Why the file could not be analysed, or a video not to its end."""
    record: dict[str, object]
    """The evidence, not yet sealed: :mod:`sdk.evidence.record`."""
    video: Watched | None = None


@dataclass(frozen=True, slots=True)
class _Upload:
    """What is examined."""

    data: bytes
    sha256: str
    content: str
    start: float
    """When that began, by ``time.perf_counter``."""

    def recorded(self, results: list[tuple[Artifact, Analysis]], **found: Any) -> record.Record:  # noqa: ANN401
        """The record of what was ``found``, as of this moment."""
        ms = 1e3 * (time.perf_counter() - self.start)
        return record.of(self.sha256, len(self.data), results, total_ms=ms, **found)


class Examiner:
    """Models and policies. Safe to share between threads, and to use after a fork, as Analyzers are."""

    def __init__(
        self,
        analyzers: list[Analyzer],
        policy: Policy,
        shadow: Policy | None = None,
        *,
        metadata: MetadataReader | None = None,
        video: VideoLimits | None = None,
        video_seconds: float = float("inf"),
    ) -> None:
        """With ``metadata`` records hold what files say about themselves, which no decision rests on.

        A video is ended after ``video_seconds``, and what was found until then counts.
        """
        self._metadata = metadata
        self._video, self._video_seconds = video, video_seconds
        self._beside: dict[int, ThreadPoolExecutor] = {}  # by process id: a fork leaves an executor without its threads
        self._closed = False
        self.analyzers = {analyzer.artifact.contract.name: analyzer for analyzer in analyzers}
        if len(self.analyzers) < len(analyzers):
            raise BadSetting("two of the models have one name", remedy="load each model once")
        self.policy, self.shadow = policy, shadow
        faults = Faults("the policies")
        for each in (policy, shadow) if shadow else (policy,):
            try:
                self._check(each)
            except SdkError as error:
                faults.add(error)
        faults.tell()

    def examine(
        self,
        data: bytes | bytearray | memoryview,
        *,
        content: str = "default",
        sha256: str | None = None,
        between: Callable[[], None] = lambda: None,
        most_pixels: int = sys.maxsize,
    ) -> Examination:
        """Analyse the file whose bytes are ``data``, a picture or a video, with every model; judge it as ``content``.

        A file that cannot be analysed is judged, too; errors of the machine are raised. ``sha256`` is that of ``data``
        where it is known already; ``between`` is called after each frame of a video, and may raise to stop.

        Raises:
            BadSetting: ``data`` is not bytes.
            LargePicture: it is a picture of over ``most_pixels``, by its header.
        """
        start, data = time.perf_counter(), _bytes(data)
        self.policy.at(content)
        upload = _Upload(data, sha256 or hashlib.sha256(data).hexdigest(), content, start)
        if is_video(data[:HEAD]):
            return self._watched(upload, between)
        facts = self._threads().submit(self._facts, data)  # it waits for a process, as the models do
        try:
            read = next(iter(self.analyzers.values())).read(data, most_pixels=most_pixels)  # decoded once for all
            analyses = {name: analyzer.analyze(read, min_score=0.0) for name, analyzer in self.analyzers.items()}
        except LargePicture:
            wait([facts])  # until then the file is held
            raise
        except REFUSALS as refusal:
            return self._refused(upload, refusal, facts.result())
        # Hashing takes as long as all that follows.
        heatmaps = [self._threads().submit(record.heatmap_digest, found).result for found in analyses.values()]
        findings = {name: Finding.of(found, self.analyzers[name].artifact.contract) for name, found in analyses.items()}
        decision = self.policy.decide(findings, content=content)
        shadow = self.shadow.decide(findings, content=_known(self.shadow, content)) if self.shadow else None
        results = [(self.analyzers[name].artifact, found) for name, found in analyses.items()]
        said = {"decision": decision, "shadow": shadow, "metadata": facts.result()}
        return Examination(analyses, decision, shadow, None, upload.recorded(results, heatmaps=heatmaps, **said))

    def warmup(self) -> None:
        """Let every model analyse a grey file, so that the first real one waits for no runtime and no decoder."""
        grey = pictures.frame_jpeg(np.full((512, 512, 3), 128, np.uint8))
        for analyzer in self.analyzers.values():
            analyzer.analyze(grey, min_score=0.0)
        self._facts(grey)

    def close(self) -> None:
        """Release every model. Idempotent."""
        self._closed = True
        beside = self._beside.pop(os.getpid(), None)
        if beside:
            beside.shutdown()
        for analyzer in self.analyzers.values():
            analyzer.close()
        if self._metadata is not None:
            self._metadata.close()

    def _threads(self) -> ThreadPoolExecutor:
        if self._closed:  # it would start a process that nobody stops
            raise AnalyzerClosed("this Examiner was closed", remedy="open another, or close it later")
        pid = os.getpid()
        beside = self._beside.get(pid)
        if beside is None:  # setdefault is atomic, and an executor has no threads before it is used
            beside = self._beside.setdefault(pid, ThreadPoolExecutor(thread_name_prefix="metadata"))
        return beside

    def _facts(self, data: bytes) -> dict[str, object] | None:
        return None if self._metadata is None else self._metadata.facts(data)

    def _watched(self, upload: _Upload, between: Callable[[], None]) -> Examination:
        trial = Footage(self.shadow, _known(self.shadow, upload.content)) if self.shadow else None
        found = watch(
            upload.data,
            self.analyzers,
            footage=Footage(self.policy, upload.content),
            shadow=trial,
            limits=self._video,
            most_seconds=self._video_seconds,
            between=between,
        )
        decision = found.footage.decision(found.error)
        shadow = trial.decision(found.error) if trial else None
        results = [(self.analyzers[name].artifact, each) for name, each in found.footage.analyses.items()]
        video = found.to_dict() if found.footage.worst else None
        evidence = upload.recorded(results, decision=decision, shadow=shadow, error=found.error, video=video)
        return Examination(found.footage.analyses, decision, shadow, found.error, evidence, found)

    def _refused(self, upload: _Upload, refusal: SdkError, facts: dict[str, object] | None) -> Examination:
        problem, content = refusal.problem, upload.content
        decision = self.policy.refuse(problem, content=content)
        shadow = self.shadow.refuse(problem, content=_known(self.shadow, content)) if self.shadow else None
        evidence = upload.recorded([], decision=decision, shadow=shadow, error=refusal, metadata=facts)
        return Examination({}, decision, shadow, refusal, evidence)

    def _check(self, policy: Policy) -> None:
        """Refuse a policy that could not judge what these models find."""
        faults = Faults(f"policy {policy.name} {policy.version}")
        heard = [name for name in policy.models or sorted(self.analyzers) if name in self.analyzers]
        if set(policy.models) - set(heard) or len(heard) < policy.agree:
            try:
                policy.decide(dict.fromkeys(self.analyzers, Finding(0.0, 0.0, "", {})))
            except SdkError as error:
                faults.add(error)
        terms = {name: self.analyzers[name].artifact.contract.at(self.analyzers[name].working_size) for name in heard}
        is_moving = all(levels and levels.video for levels in terms.values())
        for name, levels in terms.items():
            kinds = [levels.photographs if levels else {}, *([levels.video] if levels and is_moving else [])]
            for content, limits in policy.thresholds.items():
                for rates in kinds:
                    self._check_levels(faults, f"{content}, {name}", limits, rates)
        faults.tell()

    def _check_levels(self, faults: Faults, of: str, limits: Thresholds, rates: Mapping[str, float]) -> None:
        """Note what of ``limits`` a model with these ``rates`` has no score for, and block where it is lower."""
        found = {}
        for action in SEVERE:
            threshold: Threshold | None = getattr(limits, action)
            try:
                if threshold is not None:
                    found[action] = threshold.level(rates)
            except BadSetting as error:
                faults.add(error)
        if len(found) == len(SEVERE):
            faults.check(
                f"{of}: block from {found['block']:.4f} lies below review from {found['review']:.4f}",
                "block from a higher score",
                holds=found["block"] >= found["review"],
            )


@contextmanager
def opened(
    models: str | Path | list[str | Path | None] | None,
    *,
    policy: str | Path | None = None,
    shadow: str | Path | None = None,
    video_seconds: float = float("inf"),
) -> Iterator[Examiner]:
    """An examiner with an artifact or several, and policies, by name or path; closed in the end."""
    chosen = policy_file.read(policy_file.find(policy))
    other = policy_file.read(policy_file.find(shadow)) if shadow else None
    with ExitStack() as stack:
        several = models if isinstance(models, list | tuple) else [models]
        analyzers = [stack.enter_context(load(model)) for model in several]
        metadata = stack.enter_context(MetadataReader(workers=1))
        examiner = Examiner(analyzers, chosen, other, metadata=metadata, video_seconds=video_seconds)
        yield stack.enter_context(closing(examiner))


def _bytes(data: object) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise BadSetting(
        f"examine was given a {type(data).__name__}, and needs a file's bytes",
        remedy="give these: Path('photo.jpg').read_bytes()",
    )


def _known(policy: Policy, content: str) -> str:
    """``content`` where the shadow policy knows it; a trial must not turn an upload away."""
    return content if content in policy.thresholds else "default"
