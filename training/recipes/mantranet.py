"""ManTra-Net in the paper's two steps: what was done to a patch (``mantranet-imc``), then where a frame was forged.

The same two steps train ``mantranet-lite``, from ``mantranet-lite-imc``.

Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, sections 2.3 and 5.1. The second step starts from the extractor of
the first and trains it at half the rate of the rest ("half random").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import Dataset

from training import checkpoints, keras_weights, models
from training.checkpoints import FIRST_STEP
from training.data import Photographs, Samples
from training.fit import Fit, FitSettings
from training.forgers import Forger
from training.models.mantranet import Config
from training.nn.classifier import Classifier
from training.nn.detector import Detector
from training.nn.pixels import unit_range
from training.nn.vgg import Extractor
from training.recipes.psccnet import VALIDATION_SEED, Recipe, validation, written
from training.synthesis.hierarchy import FAMILIES, LEAVES, LEVELS, classes
from training.synthesis.imc import locally, patch
from training.synthesis.sample import Sample

EXTRACTOR_RATE = 0.5
"""Rate of a trained extractor over that of the rest: 5e-5 over 1e-4."""
LOCAL_EVERY = 4
"""One in so many frames is forged by one of the 385 manipulations under a mask, the others as in every recipe."""
EXTRACTOR = ("body", "free", "bounded", "halvings")
"""Settings that say what an extractor's weights mean."""
NORMALISING = 32
"""Patches by which a fresh extractor's channels are normalised."""
TOP = (1, 3, 5, 10)


class Patches(Dataset[tuple[Tensor, Tensor]]):
    """Patch ``index`` of a seed as tensors: frame uint8 [s, s, 3] and its leaf, int64 []."""

    def __init__(self, photographs: Photographs, *, seed: int, size: int) -> None:
        self.photographs, self.seed, self.size = photographs, seed, size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The same on every call."""
        frame, leaf = patch(self.photographs, seed=self.seed, index=index, size=self.size)
        return torch.from_numpy(frame), torch.tensor(leaf)


class Forgeries(Samples):
    """Splices, copies, removals and enhancements, and among them frames that were manipulated under a mask."""

    def sample(self, index: int) -> Sample:
        """The sample itself, with its recipe."""
        if index % LOCAL_EVERY:
            return super().sample(index)
        rng = np.random.default_rng((self.seed, index))
        base = self.photographs.crop(rng, self.size)
        return locally(base, partial(self.photographs.crop, rng, self.size), rng, self.hardness)


def fit(name: str, folder: Path, recipe: Recipe, settings: FitSettings, **model: object) -> None:
    """Train step ``name`` into ``folder``, or go on where ``folder`` stands.

    ``recipe.weights`` is for ``mantranet`` the checkpoint of ``mantranet-imc`` or one of its own, and so for its
    variants. Adam without decay. Shards hold the forgeries of every recipe, without those of the 385 manipulations;
    patches are never read from them, nor filmed.

    Raises:
        ValueError: shards or forgers for the first step.
    """
    if (recipe.shards or recipe.forgers) and name.endswith(FIRST_STEP):
        raise ValueError(f"shards and forgers are of forgeries, and {name} learns from patches\n  -> leave them out")
    torch.manual_seed(recipe.seed)
    settings = replace(settings, weight_decay=0.0)
    photographs, held_out = Photographs(recipe.photographs, "train"), Photographs(recipe.photographs, "validation")
    parts = (photographs, held_out)
    if name.endswith(FIRST_STEP):
        config = models.config(name.removesuffix(FIRST_STEP), **model)
        _fit_classifier(name, folder, recipe, settings, parts=parts, config=config)
    else:
        _fit_detector(name, folder, recipe, settings, parts=parts, detector=models.create(name, **model))


def _fit_classifier(
    name: str,
    folder: Path,
    recipe: Recipe,
    settings: FitSettings,
    *,
    parts: tuple[Photographs, Photographs],
    config: Config,
) -> None:
    classifier = fresh_classifier(config)
    photographs, held_out = parts
    if recipe.weights is not None:
        classifier.load_state_dict(classifier_like(recipe.weights, classifier.settings).state_dict())
    elif not (folder / "checkpoint.pt").exists():
        normalise(classifier.extractor, photographs, recipe)
    run = Fit(name, classifier, folder, settings, choices=recipe.choices(settings))
    constrain_after_steps(run.optimiser, classifier)
    for stage in recipe.stages:
        fixed = Patches(held_out, seed=VALIDATION_SEED, size=stage.size)
        count = recipe.validation_samples
        validate = partial(accuracy, patches=fixed, count=count) if count else None
        samples = Patches(photographs, seed=recipe.seed, size=stage.size)
        run.run(samples, manipulation_loss, batch=stage.batch, until=stage.until, validate=validate)


def _fit_detector(
    name: str,
    folder: Path,
    recipe: Recipe,
    settings: FitSettings,
    *,
    parts: tuple[Photographs, Photographs],
    detector: Detector,
) -> None:
    if recipe.weights is not None:
        start(detector, recipe.weights, name)
    elif not (folder / "checkpoint.pt").exists():
        normalise(detector.net.extractor, parts[0], recipe)
    run = Fit(name, detector, folder, settings, choices=recipe.choices(settings))
    if run.choices["weights"]:
        shorten_steps(run.optimiser, list(detector.net.extractor.parameters()), EXTRACTOR_RATE)
    constrain_after_steps(run.optimiser, detector.net)
    photographs, held_out = parts
    for stage in recipe.stages:
        fixed = Forgeries(held_out, seed=VALIDATION_SEED, size=stage.size, video=recipe.video)
        count = recipe.validation_samples
        validate = partial(validation, samples=fixed, count=count) if count else None
        made = {"seed": recipe.seed, "size": stage.size, "ramp": recipe.ramp, "video": recipe.video}
        made["finish"] = Forger.of(recipe.forgers)
        samples = written(recipe.shards, recipe, held_out) if recipe.shards else Forgeries(photographs, **made)
        run.run(samples, anomaly_loss, batch=stage.batch, until=stage.until, validate=validate)


def fresh_classifier(config: Config) -> Classifier:
    """A classifier of all leaves with fresh weights."""
    extractor = Extractor(config.body, config.free, bounded=config.bounded, halvings=config.halvings)
    return Classifier(extractor, len(LEAVES), asdict(config))


def normalise(extractor: Extractor, photographs: Photographs, recipe: Recipe) -> None:
    """Let the channels of a fresh extractor begin with mean 0 and variance 1, by the first patches of the run."""
    first = Patches(photographs, seed=recipe.seed, size=recipe.stages[0].size)
    frames = torch.stack([first[index][0] for index in range(NORMALISING)])
    extractor.normalise(unit_range(frames, torch.float32))


def load_classifier(file: Path) -> Classifier:
    """The classifier that the first step of training wrote.

    Raises:
        ValueError: A checkpoint of anything else.
    """
    content = checkpoints.read(file)
    name = str(content.get("model"))
    if not name.endswith(FIRST_STEP):
        raise ValueError(f"{file} holds {name}, no classifier of manipulations\n  -> give a *{FIRST_STEP} run's ema.pt")
    classifier = fresh_classifier(models.config(name.removesuffix(FIRST_STEP), **content["settings"]))
    classifier.load_state_dict(content["state"])
    return classifier


def classifier_like(file: Path, wanted: Mapping[str, object]) -> Classifier:
    """:func:`load_classifier` of a ``file`` whose extractor was made with the ``wanted`` settings.

    Raises:
        ValueError: A checkpoint of anything else, or of another extractor.
    """
    trained = load_classifier(file)
    before, after = ({name: settings[name] for name in EXTRACTOR} for settings in (trained.settings, wanted))
    if told := checkpoints.differences(before, after):
        raise ValueError(f"{file} was trained with {told}\n  -> ask for the same, or for weights with these settings")
    return trained


def start(detector: Detector, weights: Path, name: str) -> None:
    """Take over the extractor of a classifier, or all of a ``name``: the published Keras file is one of mantranet."""
    ours = weights.suffix not in keras_weights.SUFFIXES
    if ours and str(checkpoints.read(weights).get("model")).endswith(FIRST_STEP):
        trained = classifier_like(weights, detector.settings)
        detector.net.extractor.load_state_dict(trained.extractor.state_dict())
    else:
        detector.load_state_dict(checkpoints.fitting(weights, detector, model=name))


def constrain_after_steps(optimiser: Optimizer, net: nn.Module) -> None:
    """Let every step of ``optimiser`` end under the constraints of ``net``."""
    optimiser.register_step_post_hook(lambda *_: net.constrain())


def shorten_steps(optimiser: Optimizer, parameters: Iterable[nn.Parameter], share: float) -> None:
    """Let ``parameters`` go only ``share`` of every step: what that share of the rate is to Adam, and to its decay.

    One group of parameters then does for all, and a run resumes from the same checkpoint with or without.
    """
    slow, before = list(parameters), []

    def keep(*_: object) -> None:
        before[:] = [parameter.detach().clone() for parameter in slow]

    @torch.no_grad()
    def pull_back(*_: object) -> None:
        for parameter, was in zip(slow, before, strict=True):
            parameter.lerp_(was, 1 - share)

    optimiser.register_step_pre_hook(keep)
    optimiser.register_step_post_hook(pull_back)


def manipulation_loss(classifier: Classifier, frame: Tensor, leaf: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the leaf, at every fourth row and column."""
    logits = classifier.sparse(frame).float()
    return {"manipulation": F.cross_entropy(logits, leaf[:, None, None].expand(-1, *logits.shape[2:]))}


def anomaly_loss(detector: Detector, frame: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Binary cross-entropy at every pixel of the mask's logits, against the share of the frame's that were forged."""
    logits = detector.logits(frame).masks[0].float()
    share = F.adaptive_avg_pool2d(mask[:, None].float(), logits.shape[1:])[:, 0]
    return {"localisation": F.binary_cross_entropy_with_logits(logits, share)}


def accuracy(classifier: Classifier, patches: Patches, *, count: int) -> dict[str, float]:
    """Share of the first ``count`` patches whose leaf is among the likeliest, by level and, at level 5, by family."""
    return ranked_accuracy(*ranking(classifier, patches, count=count))


@torch.no_grad()
def ranking(
    classifier: Classifier, patches: Patches, *, count: int, batch: int = 20, bf16: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Of the first ``count`` patches the likeliest leaves in order, ``[count, 10]``, and the true one, ``[count]``."""
    device = next(classifier.parameters()).device
    ranked, truth = [], []
    for first in range(0, count, batch):
        frames, leaves = zip(*(patches[index] for index in range(first, min(first + batch, count))), strict=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            likeliest = classifier.patch(torch.stack(frames).to(device)).topk(max(TOP), dim=1).indices
        ranked.append(likeliest.cpu().numpy())
        truth += [int(leaf) for leaf in leaves]
    return np.concatenate(ranked), np.array(truth)


def ranked_accuracy(ranked: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracies of ``ranked`` [n, 10], the likeliest leaves in order, against ``truth`` [n]."""
    hits = ranked == truth[:, None]
    tops = {f"top_{top}": float(hits[:, :top].any(1).mean()) for top in TOP}
    levels = {
        f"level_{level}": float((numbers[ranked[:, 0]] == numbers[truth]).mean())
        for level, numbers in ((level, classes(level)) for level in range(LEVELS))
    }
    family = np.array([leaf.family for leaf in LEAVES])[truth]
    families = {f"top_1_{name}": float(hits[family == name, 0].mean()) for name in FAMILIES if (family == name).any()}
    return dict(chain(tops.items(), levels.items(), families.items()))
