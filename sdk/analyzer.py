"""Analyzer: a loaded artifact. Inputs become frames, frames become results; from any thread, in any process."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, overload

import numpy as np

from sdk import artifact, backends, batches, plan
from sdk.backend import Builds
from sdk.batches import Size
from sdk.cuda_arrays import is_on_gpu
from sdk.decoding import Decoder, Mode
from sdk.engines.profile import Profile
from sdk.errors import AnalyzerClosed, ArtifactInvalid, BadSetting, RunFailed, SdkError, UnknownName
from sdk.frames import Color, convert, orientation_of, quality_of, to_display
from sdk.inputs import Input, given
from sdk.limits import Limits, check_pixels
from sdk.opened import Opened
from sdk.progress import Report, Told
from sdk.recipe import Recipe, as_pixels, as_score
from sdk.results import Analysis, Latency, Runtime
from sdk.verdict import Verdict, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.engines.resident import Keeper


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    backend: str | None = None,
    precision: str = "auto",
    working_size: int | None = None,
    threads: int | None = None,
    min_score: float = 0.0,
    decode: Mode = "worker",
    limits: Limits | None = None,
) -> Analyzer:
    """Load an artifact, ready to analyse.

    Args:
        model: name of a shipped artifact, None for the default one, or the path of an artifact directory.
        device: "cpu"; "cuda", which is CUDA or an error; or "auto", whose choice is told in every result.
        backend: name of a runtime; None chooses the fastest that can run the artifact.
        precision: "f32"; "bf16"; or "auto", the fastest that the model is allowed and the machine offers.
        working_size: long side at which frames are analysed, px; 0 is their own size, None the artifact's default.
        threads: CPU threads of the runtime; None leaves it to the runtime.
        min_score: score from which frames are localised; below it a result has no heatmap and is made faster.
        decode: "worker" decodes files in a process of their own, "fresh" each in another one, so that a hostile file
            meets no other; "inline" in this one, for trusted files only.
        limits: what a file may cost before it is refused; that on pixels holds for arrays and images, too.
    """
    recipe = Recipe(
        model=model,
        device=device,
        backend=backend,
        precision=precision,
        working_size=working_size,
        threads=threads,
        min_score=min_score,
        decode=decode,
        limits=limits,
    )
    return made(recipe)


def made(recipe: Recipe) -> Analyzer:
    """What ``recipe`` says, ready to analyse."""
    analyzer = _kind(artifact.find(recipe.model))(recipe)
    analyzer.open()
    return analyzer


def _kind(path: Path) -> type[Analyzer]:
    """What analyses with the artifact at ``path``: one model, or several whose answers become one."""
    if not (path / artifact.MEMBERS).is_file():
        return Analyzer
    from sdk.ensemble import Ensemble  # it is made of Analyzers

    return Ensemble


class Analyzer:
    """A loaded artifact. Safe to share between threads, to use after a fork, and to pickle."""

    def __init__(self, recipe: Recipe) -> None:
        path = artifact.find(recipe.model)
        if path.parent != artifact.SHIPPED:  # a relative path means nothing to the process that unpickles it
            recipe = dataclasses.replace(recipe, model=path.resolve())
        self.recipe = recipe
        self.artifact = artifact.read(path)
        size = recipe.working_size
        self.working_size = self.artifact.contract.working_size if size is None else size
        """Long side at which frames are analysed, px; 0 is their own size."""
        self._decoder = Decoder(recipe.limits, mode=recipe.decode)
        # By process id: sessions of the parent have no threads in a forked child, and dropping them there may hang.
        self._opened: dict[int, Opened] = {}
        self._closed = False

    def open(self) -> None:
        """Load every graph now, so that what is missing is told here and the first analysis is no slower."""
        opened = self._here()
        for graph in sorted(opened.terms.planned):
            opened.session(graph, precision=opened.choice.precision)

    def analyze(
        self,
        source: object,
        *,
        color: Color = "rgb",
        decoder: str | None = None,
        min_score: float | None = None,
        progress: Report | None = None,
    ) -> Analysis:
        """Analyse one path, file's bytes, array, PIL image, or what :meth:`read` gave.

        Arrays are uint8, NumPy's or shown by ``__array_interface__``, DLPack or ``__cuda_array_interface__``; ``color``
        is their channel order, ``decoder`` what made them, for results to name. ``min_score`` overrides that of
        :func:`load`; ``progress`` is called with a :class:`sdk.progress.Progress` after every tile, and may raise to
        stop.
        """
        return self.analyze_batch([source], color=color, decoder=decoder, min_score=min_score, progress=progress)[0]

    @overload
    def analyze_batch(
        self,
        sources: Iterable[object],
        *,
        color: Color = "rgb",
        decoder: str | None = None,
        min_score: float | None = None,
        progress: Report | None = None,
        batch: Size = None,
        latency_ms: float | None = None,
        errors: Literal["raise"] = "raise",
    ) -> list[Analysis]: ...

    @overload
    def analyze_batch(
        self,
        sources: Iterable[object],
        *,
        color: Color = "rgb",
        decoder: str | None = None,
        min_score: float | None = None,
        progress: Report | None = None,
        batch: Size = None,
        latency_ms: float | None = None,
        errors: Literal["return"],
    ) -> list[Analysis | SdkError]: ...

    def analyze_batch(
        self,
        sources: Iterable[object],
        *,
        color: Color = "rgb",
        decoder: str | None = None,
        min_score: float | None = None,
        progress: Report | None = None,
        batch: Size = None,
        latency_ms: float | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Analysis] | list[Analysis | SdkError]:
        """Analyse many inputs; those of one shape run together. Results come in the order of the inputs.

        ``batch`` is how many run at once: a number; "auto", as many as make it faster, found by timing, which take no
        longer than ``latency_ms``; None, as many as are not too many pixels.

        With ``errors="raise"`` the first input that cannot be analysed ends the call with its error; with ``"return"``
        its error stands in its place among the results, and no other input is lost.
        """
        self._check_open()
        if errors not in ("raise", "return"):
            raise UnknownName("way with errors", errors, ("raise", "return"))
        if not isinstance(sources, Iterable) or batches.is_one(sources):
            raise BadSetting("analyze_batch was given one source", remedy="give a list of sources, or call analyze")
        least = self.recipe.min_score if min_score is None else as_score("min_score", min_score)
        pace = batches.Pace(batch, latency_ms)
        return batches.run(
            sources,
            lambda source: source if isinstance(source, Input) else self.read(source, color=color, decoder=decoder),
            lambda inputs: self._analyze(inputs, least, progress),
            working_size=self.working_size,
            pace=pace,
            keeps_errors=errors == "return",
        )

    def warmup(self, height: int = 512, width: int = 512) -> None:
        """Analyse a grey frame of that size, so that the runtime has planned for it before the first real one.

        A backend that runs engines builds the one for such frames first if there is none; nothing else does.
        """
        height, width = as_pixels("height", height), as_pixels("width", width)
        check_pixels("the frame to warm up with", (width, height), self._decoder.limits, decoded=True)
        opened = self._here()
        shrinking = 0 < self.working_size < max(height, width)
        for step in opened.terms.plan:
            session = opened.session(step.graph, precision=opened.choice.precision)
            if isinstance(session, Builds) and step.when == ("shrinking" if shrinking else "native"):
                session.build(Profile.around(height, width))
        self._run(np.full((1, height, width, 3), 128, np.uint8), 0.0, Told(None))

    def close(self) -> None:
        """Release sessions and decoding processes. Idempotent; analyses that other threads are in may fail."""
        self._closed = True
        self._decoder.close()
        opened = self._opened.pop(os.getpid(), None)
        if opened:
            opened.close()

    def __enter__(self) -> Analyzer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.recipe,)

    def __repr__(self) -> str:
        terms = self.artifact.contract
        preview = ", PREVIEW weights" if terms.status == "preview" else ""
        return f"Analyzer({terms.name} {terms.version}{preview}, working size {self.working_size or 'native'})"

    @property
    def choice(self) -> backends.Choice:
        """Backend, device and precision that are used in this process, and why no others."""
        return self._here().choice

    @property
    def parallel(self) -> int:
        """How many frames are computed side by side: as many as every session of the plan takes; more would wait."""
        opened = self._here()
        precision = opened.choice.precision
        return min(opened.session(graph, precision=precision).parallel for graph in opened.terms.planned)

    def _check_open(self) -> None:
        if self._closed:
            raise AnalyzerClosed("this Analyzer was closed", remedy="load another, or close it later")

    def _here(self) -> Opened:
        """The sessions of this process."""
        self._check_open()
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:  # setdefault is atomic: two threads get the same one, with no lock that a fork could freeze
            opened = self._opened.setdefault(pid, Opened(self.artifact, self.recipe))
        if self._closed:  # meanwhile, by a close() that may have come too early to see these sessions
            opened.close()
            raise AnalyzerClosed("this Analyzer was closed during an analysis", remedy="close it later")
        return opened

    def read(
        self, source: object, *, color: Color = "rgb", decoder: str | None = None, most_pixels: int = sys.maxsize
    ) -> Input:
        """``source`` as a frame, which any number of Analyzers may then analyse: nothing is decoded twice.

        ``decoder`` is what made an array, in the caller's words. A file of over ``most_pixels`` is refused as a
        :class:`LargePicture` before it is decoded.
        """
        self._check_open()  # one that is closed would start a decoding process that nobody stops
        start = time.perf_counter()
        if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
            decoded = self._decoder.decode(source, most_pixels=most_pixels)
            ms = 1e3 * (time.perf_counter() - start)
            return Input.of(decoded, ms)
        kind = given(source, decoder)
        keeper = self._keeper() if is_on_gpu(source) else None
        resident = keeper.take(source) if keeper and color == "rgb" else None
        if resident:
            height, width, _ = resident.shape
            check_pixels("the array", (width, height), self._decoder.limits, decoded=True)
            return Input(resident, 1, kind, (), 1e3 * (time.perf_counter() - start))
        frame, notes = convert(source, color=color, limits=self._decoder.limits)
        if keeper:
            notes = [*notes, "copied from the GPU to the host: only RGB [H, W, 3] without gaps between pixels stays"]
        if frame is source or not frame.flags.owndata:
            frame = frame.copy()  # the result keeps it, the caller may draw on his
        ms = 1e3 * (time.perf_counter() - start)
        return Input(frame, orientation_of(source), kind, tuple(notes), ms, quality=quality_of(source))

    def _keeper(self) -> Keeper | None:
        """What keeps frames on the GPU, if they are run there in one piece."""
        return self._here().keeper()

    def _precision(self, shape: tuple[int, ...]) -> str:
        """Precision for frames of ``shape`` [..., H, W, 3]: f32 where they are thinner than anything that was measured.

        With bf16 OpenVINO 2026.4 reads beyond maps that are one pixel wide; what it finds there is not even finite.
        """
        height, width = shape[-3:-1]
        thin = min(height, width) * batches.scale(height, width, self.working_size) < self._here().terms.minimum_side
        return "f32" if thin else self.choice.precision

    def _run(self, frames: NDArray[np.uint8], min_score: float, told: Told) -> plan.Answer:
        opened = self._here()
        precision = self._precision(frames.shape)
        session = functools.partial(opened.session, precision=precision)
        try:
            return plan.execute(
                opened.terms,
                session,
                frames,
                working_size=self.working_size,
                min_score=min_score,
                precision=precision,
                told=told,
            )
        except SdkError:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own, OpenVINO what pybind11 makes of C++'s
            if error is told.error:
                raise
            if self._closed:
                raise AnalyzerClosed("this Analyzer was closed during an analysis", remedy="close it later") from error
            raise RunFailed(
                f"{opened.choice.backend} failed on frames of shape {frames.shape}: {' '.join(str(error).split())}",
                remedy="try a smaller working_size, or another backend: imdl doctor",
            ) from error

    def _analyze(self, inputs: Sequence[Input], min_score: float, progress: Report | None) -> list[Analysis]:
        """Results for inputs of one shape."""
        start = time.perf_counter()
        answer = self._run(self._frames(inputs), min_score, Told(progress))
        if not np.isfinite(answer.score).all():
            raise ArtifactInvalid(
                f"{self.artifact.name} gave a score that is not a number", remedy='load it with precision="f32"'
            )
        heatmaps = iter(() if answer.heatmap is None else answer.heatmap)
        results = []
        for item, score, localised in zip(inputs, answer.score, answer.localised, strict=True):
            heatmap = next(heatmaps) if localised else None
            total = item.decode_ms + 1e3 * (time.perf_counter() - start)
            latency = Latency({"decode": item.decode_ms, **answer.stages}, total, len(inputs))
            results.append(self._result(item, float(score), heatmap, latency))
        return results

    def _frames(self, inputs: Sequence[Input]) -> NDArray[np.uint8]:
        """Frames of one shape as [N, H, W, 3]; a single one that is on the GPU stays there if it is run there."""
        first = inputs[0].frame
        if len(inputs) > 1:
            return np.stack([np.asarray(item.frame) for item in inputs])
        if isinstance(first, np.ndarray):
            return first[None]
        # To sessions that run there it is as good as an array.
        return cast("NDArray[np.uint8]", first.batch()) if self._keeper() else np.asarray(first)[None]

    def _verdict(self, score: float, item: Input) -> Verdict:
        terms, size = self.artifact.contract, self.working_size
        frame = cast("NDArray[np.uint8]", item.frame)  # of one on the GPU only the rows that are looked at come down
        return judge(score, frame, terms, working_size=size, quality=item.quality, is_video=item.is_video)

    def _runtime(self, item: Input, choice: backends.Choice, precision: str) -> Runtime:
        terms = self.artifact.contract
        return Runtime(
            model=terms.name,
            version=terms.version,
            status=terms.status,
            artifact=self.artifact.digest,
            backend=choice.backend,
            device=choice.device,
            precision=precision,
            working_size=self.working_size,
            decoder=item.decoder,
            against=choice.against,
        )

    def _result(self, item: Input, score: float, heatmap: NDArray[np.float32] | None, latency: Latency) -> Analysis:
        start = time.perf_counter()
        pixels = to_display(item.frame, item.orientation) if isinstance(item.frame, np.ndarray) else item.frame
        heatmap = None if heatmap is None else to_display(heatmap, item.orientation)
        verdict = self._verdict(score, item)
        ms = 1e3 * (time.perf_counter() - start)
        return Analysis(
            pixels=pixels,
            heatmap=heatmap,
            score=score,
            mask_threshold=self.artifact.contract.mask_threshold,
            verdict=verdict,
            latency=Latency({**latency.stages, "result": ms}, latency.total + ms, latency.batch),
            runtime=self._runtime(item, self.choice, self._precision(item.frame.shape)),
            orientation=item.orientation,
            notes=item.notes,
        )
