"""MAG (and mag-lite): an annotator, a retoucher and two discriminators that learn in turn.

Kniaz, Knyaz, Remondino, "The Point Where Reality Meets Fantasy", NeurIPS 2019, section 3. A step sees manipulated
frames A, which are retouched to B^, and authentic frames B of other photographs; the annotator learns from all three.
Two things that the published script switches off are on: retouched frames are supervised, and the gradient of D_A
reaches the annotator. Adam's means decay as published, but where an annotator learns alone; the schedule is
:mod:`training.fit`'s.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from training import annotation, checkpoints, forgers, losses, models
from training.annotation import Weights
from training.classes import Classes, names
from training.data import Photographs, Samples
from training.errors import UnknownName
from training.fit import Fit, FitSettings, Partner, write
from training.models.mag import Annotator
from training.nn.detector import Detector
from training.nn.patchgan import PatchGAN
from training.nn.pixels import unit_range
from training.nn.retoucher import Retoucher
from training.nn.unet_uc import initialise
from training.recipes import gsrnet
from training.recipes.psccnet import VALIDATION_SEED, Recipe, validation
from training.settings import taken
from training.sheet import Sheet
from training.synthesis import KINDS

BETAS = (0.5, 0.999)
RATE = 2e-4
"""The published learning rate of all four networks, which those that do not ship never exceed."""
OTHERS = 1 << 32
"""Added to a seed for the authentic frames, which are then of other photographs than the manipulated ones."""
SHOWN = 6
"""Frames of a contact sheet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """What is left of MAG."""

    retoucher: bool = True
    """Whether frames are retouched, judged as frames, and annotated."""
    model: dict[str, object] = field(default_factory=dict)
    """Settings of the model."""


ABLATIONS = {
    "mag": Ablation(),
    "no-retoucher": Ablation(retoucher=False),
    "single-task": Ablation(model={"classes": 0, "edge": False}),
}
"""Rows of table 1."""


class Pairs(Dataset[tuple[Tensor, ...]]):
    """A manipulated frame, uint8 [s, s, 3], its mask, bool [s, s], and classes, uint8 [s, s]; an authentic one.

    Which photographs the two are of has nothing to do with each other.
    """

    def __init__(self, manipulated: Samples, authentic: Samples, classes: Classes) -> None:
        self.manipulated, self.authentic, self.classes = manipulated, authentic, classes

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """The same on every call."""
        forged, genuine = self.manipulated.sample(index), self.authentic.sample(index)
        arrays = (forged.frame, forged.mask, self.classes.of(forged), genuine.frame, self.classes.of(genuine))
        return tuple(torch.from_numpy(array) for array in arrays)


def pairs(photographs: Photographs, recipe: Recipe, *, size: int, classes: Classes) -> Pairs:
    """The sequence to train on."""
    how = {"size": size, "ramp": recipe.ramp, "video": recipe.video}
    finish = forgers.Forger.of(recipe.forgers)
    manipulated = Samples(photographs, seed=recipe.seed, kinds=tuple(KINDS), finish=finish, **how)
    return Pairs(manipulated, Samples(photographs, seed=recipe.seed + OTHERS, kinds=("authentic",), **how), classes)


class Rivals:
    """The four networks and what each of them minimises; without ``retoucher`` there are G_A and D_A alone.

    D_A's turn is the first of a step: it retouches and annotates, and the others take over what it made.
    """

    def __init__(self, annotator: Annotator, weights: Weights, *, retoucher: bool = True) -> None:
        config = annotator.config
        self.annotator, self.weights = annotator, weights
        self.retoucher = Retoucher(widths=config.widths, dropout=config.dropout) if retoucher else None
        self.realism = discriminator(3, config.width) if retoucher else None
        judged = retoucher or weights.plausible > 0
        self.plausibility = discriminator(3 + config.channels, config.width) if judged else None
        self.retouched = self.answer = torch.empty(0)

    def partners(self, rate: float) -> dict[str, Partner]:
        """Those that do not ship, in the order of their turns; ``rate`` is the annotator's."""
        turns: dict[str, tuple[nn.Module | None, object]] = {
            "plausibility": (self.plausibility, self.judge_annotations),
            "realism": (self.realism, self.judge_frames),
            "retoucher": (self.retoucher, self.retouch),
        }
        how = {"rate": min(RATE / rate, 1.0), "betas": BETAS}
        return {name: Partner(net=net, loss=loss, **how) for name, (net, loss) in turns.items() if net}

    def judge_annotations(self, *batch: Tensor) -> dict[str, Tensor]:
        """D_A: which annotation of the retouched frame is the true one."""
        frame, mask, classes, _, _ = batch
        self._play(frame)
        real = self.plausibility(self._shown(self._truth(mask, classes), classes))
        made = self.plausibility(self._shown(torch.sigmoid(self.answer.detach().float()), classes))
        return {"telling_annotations": annotation.telling(real, made)}

    def judge_frames(self, *batch: Tensor) -> dict[str, Tensor]:
        """D_R: which frame is retouched and which authentic."""
        _, _, _, authentic, _ = batch
        real, made = (self.realism(2 * x - 1) for x in (floats(authentic), self.retouched.detach()))
        return {"telling_frames": annotation.telling(real, made)}

    def retouch(self, *batch: Tensor) -> dict[str, Tensor]:
        """G_R: equation 5."""
        frame, mask, classes, _, _ = batch
        skipped = self.annotator.config.channels - self.annotator.config.classes
        truth = self._truth(mask, classes)[:, skipped:]
        counted = (~mask & (classes != annotation.UNKNOWN)).float()
        terms = {
            "semantic": annotation.semantic(self.answer[:, skipped:], truth, counted),
            "hiding": annotation.hiding(self.answer[:, 0]),
            "realism": annotation.convincing(self.realism(2 * self.retouched - 1)),
            "identity": (self.retouched - floats(frame)).abs().mean(),
        }
        return {name: getattr(self.weights, name) * term for name, term in terms.items()}

    def annotate(self, _: Detector, *batch: Tensor) -> dict[str, Tensor]:
        """G_A: equation 8, on A, B^ and B."""
        frame, mask, classes, authentic, named = batch
        parts = {
            "tampered": (floats(frame), mask, classes),
            "authentic": (floats(authentic), torch.zeros_like(mask), named),
        }
        if self.retoucher:
            parts["retouched"] = (self.retouched.detach(), mask, classes)
        frames = torch.cat([part[0] for part in parts.values()])
        answers = dict(zip(parts, self.annotator.annotate(frames).chunk(len(parts)), strict=True))
        terms = {}
        for name, (_, *truth) in parts.items():
            compared = answers[name], self._truth(*truth), self._weighed(truth[1])
            terms[f"balanced_{name}"] = self.weights.balanced * annotation.balanced(*compared)
            if self.weights.entropy:
                terms[f"entropy_{name}"] = self.weights.entropy * annotation.balanced_entropy(*compared)
            if self.weights.score:
                margin = self.annotator.conclude(answers[name][:, :1])[:, 1]
                label = torch.full_like(margin, name != "authentic")
                terms[f"score_{name}"] = self.weights.score * losses.detection(margin, label)
        if not self.plausibility:
            return terms
        judged = answers["retouched" if self.retoucher else "tampered"]
        shown = self._shown(torch.sigmoid(judged.float()), classes)
        return {**terms, "plausible": self.weights.plausible * annotation.convincing(self.plausibility(shown))}

    def _play(self, frame: Tensor) -> None:
        """Retouch and annotate; the graph is kept for the retoucher's turn."""
        self.retouched = self.retoucher(floats(frame)) if self.retoucher else floats(frame)
        with torch.set_grad_enabled(self.retoucher is not None):
            self.answer = self.annotator.annotate(self.retouched)

    def _truth(self, mask: Tensor, classes: Tensor) -> Tensor:
        config = self.annotator.config
        return annotation.annotation(mask, classes, count=config.classes, edge=config.edge)

    def _supervised(self, classes: Tensor) -> Tensor:
        config = self.annotator.config
        return annotation.known(classes, count=config.classes, edge=config.edge)

    def _weighed(self, classes: Tensor) -> Tensor:
        counted = self._supervised(classes)
        if self.annotator.config.edge:
            counted[:, 1] *= self.weights.outline
        return counted

    def _shown(self, answer: Tensor, classes: Tensor) -> Tensor:
        """What D_A sees: the frame and what is said of it, channels left out of which nobody knows the truth."""
        said = (2 * answer - 1) * self._supervised(classes)[..., None, None]
        return torch.cat([2 * self.retouched.detach() - 1, said], dim=1)


def discriminator(inputs: int, width: int) -> PatchGAN:
    """D_R or D_A, with fresh weights as in pix2pix."""
    net = PatchGAN(inputs, width=width, norm=True)
    initialise(net)
    return net


def floats(frame: Tensor) -> Tensor:
    """uint8 ``[N, H, W, 3]`` to float32 ``[N, 3, H, W]`` in [0, 1]."""
    return unit_range(frame, torch.float32)


def fit(
    name: str, folder: Path, recipe: Recipe, settings: FitSettings, *, ablation: str = "mag", **options: object
) -> None:
    """Train ``name`` as a row of :data:`ABLATIONS` into ``folder``, or go on where ``folder`` stands.

    ``options`` are fields of :class:`training.annotation.Weights` or settings of the model. Unless they say how many
    classes there are, these are the model's ten, or as many as the photographs' label maps name.
    """
    if ablation not in ABLATIONS:
        raise UnknownName("ablation of mag", ablation, ABLATIONS)
    torch.manual_seed(recipe.seed)
    weights = taken(Weights, options, of=name)
    most = models.config(name, **options).classes
    photographs, held_out = Photographs(recipe.photographs, "train"), Photographs(recipe.photographs, "validation")
    options = {
        "classes": min(most, len(names(photographs))),
        **ABLATIONS[ablation].model,
        **options,
    }
    detector = models.create(name, **options)
    classes = Classes(photographs, detector.net.config.classes)
    if detector.net.config.stem and detector.net.config.traces:
        gsrnet.start(detector.net.stem[0].weight)
    if recipe.weights is not None:
        detector.load_state_dict(checkpoints.fitting(recipe.weights, detector, model=name))
    rivals = Rivals(detector.net, weights, retoucher=ABLATIONS[ablation].retoucher)
    choices = recipe.choices(settings, ablation=ablation, **asdict(weights))
    partners = rivals.partners(settings.rate)
    run = Fit(name, detector, folder, replace(settings, weight_decay=0.0), partners=partners, choices=choices)
    if partners:
        run.optimiser.param_groups[0]["betas"] = BETAS
    for stage in recipe.stages:
        watch = partial(watched, run=run, rivals=rivals, held_out=held_out, recipe=recipe, size=stage.size)
        samples = pairs(photographs, recipe, size=stage.size, classes=classes)
        run.run(samples, rivals.annotate, batch=stage.batch, until=stage.until, validate=watch)


def watched(
    detector: Detector, *, run: Fit, rivals: Rivals, held_out: Photographs, recipe: Recipe, size: int
) -> dict[str, float]:
    """Figures on validation samples; on the way the retoucher, and a column of the contact sheet ``retouched.png``."""
    how = {"seed": VALIDATION_SEED, "size": size, "video": recipe.video}
    if rivals.retoucher:
        show(run, rivals.retoucher.eval(), Samples(held_out, kinds=tuple(KINDS), **how))
        rivals.retoucher.train()
    count = recipe.validation_samples
    return validation(detector, Samples(held_out, **how), count=count) if count else {}


def show(run: Fit, retoucher: Retoucher, samples: Samples) -> None:
    """Write the retoucher as a forger (:mod:`training.forgers`), and what it makes of the first samples."""
    content = {"settings": retoucher.settings, "state": retoucher.state_dict()}
    write(run.folder / "retoucher.pt", {"model": forgers.MAG, **content})
    forged = [samples.sample(index) for index in range(SHOWN)]
    frames = torch.stack([torch.from_numpy(sample.frame) for sample in forged]).to(run.device)
    Sheet(run.folder / "retouched", forged).add(run.progress.step, list(retoucher.pixels(frames).cpu().numpy()))
