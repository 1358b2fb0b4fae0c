"""Several models on one frame, decoded once, and how far they agree.

    agreement = sdk.analyze("photo.jpg", model="all")
    print(agreement.votes, agreement.overlaps)

There is no verdict of all together: every threshold was fitted for one model, and asking four at 5 % false alarms each
raises up to four times as many. Who found something, and whether they point at the same pixels, is said instead.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sdk import artifact, overlay
from sdk.analyzer import Analyzer, load
from sdk.errors import AnalyzerClosed, ArtifactInvalid, BadFrame, BadSetting, SdkError
from sdk.progress import Report, of_model
from sdk.results import Analysis, Latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.decoding import Mode
    from sdk.frames import Color
    from sdk.limits import Limits

ALL = "all"
"""What stands for every shipped model where one is named."""
SCHEMA = Path(__file__).with_name("agreement.schema.json")
"""JSON schema of what :meth:`Agreement.to_json` writes."""
VERDICTS = ("manipulated", "suspicious", "inconclusive", "no_evidence")


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Agreement:
    """What several models found in one frame, in display orientation."""

    analyses: Mapping[str, Analysis]
    """By model, one at least."""
    failures: Mapping[str, SdkError] = dataclasses.field(default_factory=dict)
    """Models that could not be loaded or could not answer, and why; the others' answers stand without them."""
    latency: Latency
    """``decode`` and each model by its name; the models take turns, since each of them uses every core."""

    def __post_init__(self) -> None:
        shapes = {analysis.frame.shape for analysis in self.analyses.values()}
        if len(shapes) != 1:
            raise BadFrame(
                f"an agreement is of one frame, got frames of {len(shapes)} sizes", remedy="analyse one with all models"
            )

    @property
    def votes(self) -> dict[str, int]:
        """How many models gave each verdict, none left out."""
        names: list[str] = [analysis.verdict.name for analysis in self.analyses.values()]
        return {verdict: names.count(verdict) for verdict in VERDICTS}

    @property
    def found(self) -> tuple[str, ...]:
        """The models that found evidence of manipulation, strong or weak."""
        return tuple(name for name, analysis in self.analyses.items() if analysis.verdict.found)

    @property
    def overlaps(self) -> dict[tuple[str, str], float | None]:
        """Intersection over union of the masks of every two models, in [0, 1].

        None where one has no mask because its score stayed below ``min_score``, or where both masks are empty.
        """
        masks = {name: analysis.mask for name, analysis in self.analyses.items()}
        return {(one, other): overlap(masks[one], masks[other]) for one, other in itertools.combinations(masks, 2)}

    def save_overlay(self, path: str | Path) -> Path:
        """Write the overlays of all models side by side as one picture; the suffix says which format."""
        return overlay.write(overlay.sheet(list(self.analyses.values())), path)

    def to_dict(self) -> dict[str, object]:
        """Everything but the arrays, of plain types; schema ``sdk/agreement.schema.json``."""
        return {
            "votes": self.votes,
            "found": list(self.found),
            "overlaps": [{"models": list(pair), "iou": iou} for pair, iou in self.overlaps.items()],
            "analyses": {name: analysis.to_dict() for name, analysis in self.analyses.items()},
            "failures": {
                name: {"type": type(error).__name__, "problem": error.problem, "remedy": error.remedy}
                for name, error in self.failures.items()
            },
            "latency_ms": dataclasses.asdict(self.latency),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """:meth:`to_dict` as text, on one line unless ``indent`` says otherwise."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {a.verdict} {a.score:.3f}" for name, a in self.analyses.items())
        failed = f", FAILED {', '.join(self.failures)}" if self.failures else ""
        return f"Agreement({len(self.found)} of {len(self.analyses)} found something: {said}{failed})"


def overlap(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> float | None:
    """Intersection over union of two masks; None where one is missing or both are empty."""
    if one is None or other is None:
        return None
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else None


class Analyzers:
    """Several loaded models, for one frame after the other. Safe to share between threads, and to pickle."""

    def __init__(self, analyzers: Mapping[str, Analyzer], failures: Mapping[str, SdkError]) -> None:
        self.analyzers = dict(analyzers)
        self.failures = dict(failures)
        """Models that could not be loaded, and why; every :class:`Agreement` repeats them."""

    def analyze(
        self,
        source: object,
        *,
        color: Color = "rgb",
        decoder: str | None = None,
        min_score: float | None = None,
        progress: Report | None = None,
    ) -> Agreement:
        """Analyse one input, as :meth:`sdk.Analyzer.analyze` takes it, with every model.

        What is wrong with the input is raised. What one model cannot do stands in ``failures`` and the others go on;
        if none can answer, the first one's error is raised.
        """
        start = time.perf_counter()
        (first, *_) = self.analyzers.values()
        read = first.read(source, color=color, decoder=decoder)
        analyses: dict[str, Analysis] = {}
        failures, stages = dict(self.failures), {"decode": read.decode_ms}
        for name, analyzer in self.analyzers.items():
            began = time.perf_counter()
            try:
                analyses[name] = analyzer.analyze(read, min_score=min_score, progress=of_model(name, progress))
            except AnalyzerClosed:
                raise
            except SdkError as error:
                failures[name] = error
            stages[name] = 1e3 * (time.perf_counter() - began)
        if not analyses:
            raise next(failures[name] for name in self.analyzers)
        latency = Latency(stages, 1e3 * (time.perf_counter() - start))
        return Agreement(analyses=analyses, failures=failures, latency=latency)

    def close(self) -> None:
        """Close every Analyzer. Idempotent."""
        for analyzer in self.analyzers.values():
            analyzer.close()

    def __enter__(self) -> Analyzers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        failed = f"; could not be loaded: {', '.join(self.failures)}" if self.failures else ""
        return f"Analyzers({', '.join(self.analyzers)}{failed})"


def load_all(
    models: Iterable[str | Path] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    working_size: int | None = None,
    threads: int | None = None,
    min_score: float = 0.0,
    decode: Mode = "worker",
    limits: Limits | None = None,
) -> Analyzers:
    """Load several models, every shipped one unless ``models`` names some, ready to analyse frame after frame.

    The settings are those of :func:`sdk.load` and hold for each model. One that cannot be loaded stands in the result's
    ``failures`` and the others are used; if none can, the first one's error is raised.
    """
    analyzers: dict[str, Analyzer] = {}
    failures: dict[str, SdkError] = {}
    wanted = artifact.models() if models is None else list(models)
    if not wanted:
        raise ArtifactInvalid("there is no model to load", remedy="name some, or install imdl-sdk with its artifacts")
    for model in wanted:
        try:
            loaded = load(
                model,
                device=device,
                precision=precision,
                working_size=working_size,
                threads=threads,
                min_score=min_score,
                decode=decode,
                limits=limits,
            )
        except BadSetting:
            raise
        except SdkError as error:
            failures[Path(model).name] = error
            continue
        name = loaded.artifact.contract.name
        if name in analyzers:
            loaded.close()
            raise BadSetting(f"two models are called {name}", remedy="load each by itself")
        analyzers[name] = loaded
    if not analyzers:
        raise next(iter(failures.values()))
    return Analyzers(analyzers, failures)
