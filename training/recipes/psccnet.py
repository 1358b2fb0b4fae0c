"""PSCC-Net (and psccnet-lite): balanced cross-entropy of four masks plus detection, on samples of growing hardness."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training import checkpoints, losses, metrics, models
from training.data import Photographs, Samples, ShardSamples
from training.fit import Fit, FitSettings
from training.forgers import Forger
from training.nn.detector import Detector

VALIDATION_SEED = 20_011
"""Seed of the fixed validation samples; no training seed equals it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stretch of training at one size."""

    until: float
    """Share of the budget at which it ends, in (0, 1]."""
    size: int
    """Side of the samples, px."""
    batch: int
    grid: int = 0
    """Side of the finest mask during this stage, px; 0 keeps the model's. The weights do not depend on it."""
    correlation: bool = True
    """Whether the SCCM branches take part. False only before the first stage in which they do (:func:`silent`)."""

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise ValueError(f"a stage until {self.until:g} of the budget\n  -> give a share above 0, up to 1")
        for name, least in (("size", 1), ("batch", 1), ("grid", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"a stage of {name} {getattr(self, name)}\n  -> give {least} or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is trained on."""

    photographs: Path
    """Folder with ``SOURCES.csv``."""
    stages: tuple[Stage, ...] = (Stage(until=1.0, size=256, batch=10),)
    seed: int = 1
    weights: Path | None = None
    """Checkpoint of the same model to go on from; None starts fresh (see :func:`start`)."""
    ramp: int = 0
    """Samples over which hardness rises to 1."""
    shards: Path | None = None
    """Folder of shards to train on, again from the first after the last; None synthesises samples on the way."""
    forgers: tuple[Path, ...] = ()
    """Generators that finish half of the forgeries to train on (:mod:`training.forgers`); not those that validate."""
    video: bool = True
    """Whether samples pass through a video codec, which needs PyAV."""
    detection_weight: float = 1.0
    """Weight of the detection loss beside the sum of the mask losses."""
    validation_samples: int = 200

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if not ends or any(later <= sooner for sooner, later in pairwise(ends)):
            told = ", ".join(f"{end:g}" for end in ends) or "none"
            raise ValueError(f"stages that end at {told} of the budget\n  -> let each end after the one before it")
        for name in ("seed", "ramp", "validation_samples"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}\n  -> give 0 or more")

    def choices(self, settings: FitSettings, **more: object) -> dict[str, object]:
        """What a run is held to (:class:`training.fit.Fit`): this, and what the recipe of a model has ``more``.

        Stages are shares of a budget, so another budget may come with others. Files count by what is in them.
        """
        budget = f"{settings.steps} steps" if settings.steps else f"{settings.minutes:g} minutes"
        return {
            "seed": self.seed,
            "ramp": self.ramp,
            "video": self.video,
            "weights": None if self.weights is None else digest(self.weights),
            "shards": "none" if self.shards is None else listing(self.shards),
            "forgers": [digest(file) for file in self.forgers],
            f"stages of {budget}": [asdict(stage) for stage in self.stages],
            **more,
        }


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def listing(folder: Path) -> str:
    """SHA-256 of the names and sizes of a folder of shards."""
    listed = "\n".join(f"{path.name} {path.stat().st_size}" for path in sorted(folder.glob("*.tar")))
    return hashlib.sha256(listed.encode()).hexdigest()


def fit(name: str, folder: Path, recipe: Recipe, settings: FitSettings, **model: object) -> None:
    """Train model ``name`` (with its settings) into ``folder``, or go on where ``folder`` stands."""
    torch.manual_seed(recipe.seed)
    detector = models.create(name, **model)
    if recipe.weights is None:
        start(detector)
    else:
        go_on(detector, checkpoints.fitting(recipe.weights, detector, model=name))
    grid = detector.net.config.grid
    choices = recipe.choices(settings, detection_weight=recipe.detection_weight)
    held_out = Photographs(recipe.photographs, "validation")
    make = sequence(recipe, held_out)
    run = Fit(name, detector, folder, settings, choices=choices)

    def loss(detector: Detector, frame: Tensor, mask: Tensor) -> dict[str, Tensor]:
        logits = detector.logits(frame)
        localisation, detection = losses.psccnet(logits.masks, logits.score, mask)
        return {"localisation": localisation, "detection": recipe.detection_weight * detection}

    for stage in recipe.stages:
        detector.net.config = replace(detector.net.config, grid=stage.grid or grid)
        fixed = Samples(held_out, seed=VALIDATION_SEED, size=stage.size, video=recipe.video)
        count = recipe.validation_samples
        validate = partial(validation, samples=fixed, count=count) if count else None
        with nullcontext() if stage.correlation else silent(detector):
            run.run(make(stage.size), loss, batch=stage.batch, until=stage.until, validate=validate)


def sequence(recipe: Recipe, held_out: Photographs) -> Callable[[int], Samples | ShardSamples]:
    """The samples to train on by their side in px; which part of them a run has seen is all that resuming needs."""
    if recipe.shards is not None:
        samples = written(recipe.shards, recipe, held_out)
        return lambda _: samples
    photographs = Photographs(recipe.photographs, "train")
    how = {"seed": recipe.seed, "ramp": recipe.ramp, "video": recipe.video, "finish": Forger.of(recipe.forgers)}
    return lambda size: Samples(photographs, size=size, **how)


def written(folder: Path, recipe: Recipe, held_out: Photographs) -> ShardSamples:
    """The samples of a folder of shards, refused where they are not what ``recipe`` asks for.

    Raises:
        ValueError: Samples of another side, a ramp or forgers, or samples of photographs that validate.
    """
    if recipe.forgers:
        raise ValueError("samples of shards are finished\n  -> give synthesize the forgers, or leave --shards out")
    if recipe.ramp:
        raise ValueError(f"a ramp of {recipe.ramp} samples, but shards are as hard as they were written\n  -> drop one")
    samples = ShardSamples(folder)
    side = len(samples.sample(0).frame)
    for stage in recipe.stages:
        if stage.size != side:
            raise ValueError(
                f"{folder} holds samples of {side} px, not {stage.size}\n  -> give that size to every stage"
            )
    leaked = samples.origins() & {row.file for row in held_out.rows}
    if leaked:
        raise ValueError(f"{folder} holds samples of {min(leaked)}, which validates\n  -> write them with --part train")
    return samples


@torch.no_grad()
def start(detector: Detector) -> None:
    """Weights to begin from: a high-pass first convolution, and SCCM branches that begin silent with even attention.

    Both decide whether anything is learned within hours: the raw reshape mixes far-apart pixels into every position,
    which at the authors' gamma of 1 buries local traces before the branches have learned to be of use.
    """
    residual_start(detector.net.trunk.conv1.weight)
    detector.net.trunk.conv1.weight.requires_grad_(False)
    for scale in detector.net.localisation.scales.values():
        scale.gamma_s.zero_()
        scale.gamma_c.zero_()
        scale.theta.weight.mul_(0.1)
        scale.phi.weight.mul_(0.1)


@torch.no_grad()
def go_on(detector: Detector, trained: Mapping[str, Tensor]) -> None:
    """Weights of ``trained``, with a fresh classifier and the first convolution still.

    The classifier's sixteen hidden units may die (of those of the first preview seven had), until many frames get one
    and the same score; what they read is alive, so sixteen new ones can learn from it.
    """
    fresh = {key: value for key, value in detector.state_dict().items() if key.startswith("net.detection.classifier.")}
    detector.load_state_dict({**trained, **fresh})
    detector.net.trunk.conv1.weight.requires_grad_(False)


@contextmanager
def silent(detector: Detector) -> Iterator[None]:
    """SCCM branches left out, not only multiplied by gamma: the same function in less time where gamma is still 0.

    Weights that went on from others have gammas near 0, and find the branches again where the next stage begins.
    """
    scales = list(detector.net.localisation.scales.values())
    for scale in scales:
        scale.forward = scale.mask.forward
    try:
        yield
    finally:
        for scale in scales:
            del scale.forward


@torch.no_grad()
def residual_start(weight: Tensor) -> None:
    """Let three quarters of the first convolution [C, 3, 3, 3] begin as high-pass filters, each with its negative.

    Traces of manipulation are a few grey levels beside contents of a hundred. Random filters pass the contents, and
    normalisation scales by those; second differences (as in SRM, and as ManTra-Net's and Bayar's first layers) cancel
    them. A filter and its negative survive the ReLU together. The convolution then stays as it is, as in SRM: residuals
    are so small beside contents that ten steps of Adam at 0.001 leave more content than residual in an answer.
    """
    diagonal = torch.diag(torch.tensor([-1.0, 2.0, -1.0]))
    across = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    square = torch.tensor([[-1.0, 2.0, -1.0], [2.0, -4.0, 2.0], [-1.0, 2.0, -1.0]])
    kernels = (across, across.T, diagonal, diagonal.flip(0), across + across.T, square)
    colours = torch.cat([torch.eye(3), torch.full((1, 3), 3**-0.5)])  # red, green, blue, grey
    filters = torch.stack([colour[:, None, None] * k / k.norm() for k in kernels for colour in colours])
    filters = torch.cat([filters, -filters])[: len(weight) * 3 // 4]
    weight[: len(filters)] = filters * weight.flatten(1).norm(dim=1).mean()


@torch.no_grad()
def validation(detector: Detector, samples: Samples, *, count: int, batch: int = 20) -> dict[str, float]:
    """Pixel and image metrics of the first ``count`` samples, pixel AUC also by kind of manipulation."""
    heatmaps, scores, masks, kinds = [], [], [], []
    device = next(detector.parameters()).device
    for start in range(0, count, batch):
        made = [samples.sample(index) for index in range(start, min(start + batch, count))]
        frame = torch.from_numpy(np.stack([sample.frame for sample in made])).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            heatmap, score = detector(frame)
        heatmaps += list(heatmap.float().cpu().numpy())
        scores += score.float().cpu().tolist()
        masks += [sample.mask for sample in made]
        kinds += [str(sample.recipe["kind"]) for sample in made]
    labels = [bool(mask.any()) for mask in masks]
    by_kind = {}
    for kind in sorted(set(kinds) - {"authentic"}):
        mine = [index for index, other in enumerate(kinds) if other == kind]
        table = metrics.pixel_table([heatmaps[index] for index in mine], [masks[index] for index in mine])
        by_kind[f"pixel_auc_{kind}"] = table["pixel_auc"]
    return {**metrics.pixel_table(heatmaps, masks), **by_kind, **metrics.image_table(scores, labels)}
