"""GSR-Net (and gsrnet-lite): a segmenter that learns from forgeries which a generator hides from a discriminator.

Zhou et al., "Generate, Segment, and Refine", AAAI 2020, sections 3 and 4.4. A step sees manipulated frames S with masks
K and authentic frames T of other photographs. The discriminator's turn is first, then the generator's (equation 7),
then the segmenter's: on S, on the copy M (equation 1), on what the generator made of it, and on M after its predicted
boundary was overwritten (equations 8 and 9). The ablations of table 2 are :data:`ABLATIONS`.

Where we differ: weights are fresh instead of ImageNet's, with a first convolution as PSCC-Net's here; all networks
follow one schedule, and the segmenter's weights decay, as :mod:`training.fit` has it; the generator learns from
equation 7 alone, as in the paper and unlike in the authors' code; masks count by :func:`training.losses.balanced_bce`;
what was generated is rounded to grey levels before it is shown, as any frame is; S may be authentic, and then so is all
that is made of it. The generator of gsrnet-lite changes frames and does not paint them anew, which a narrow one takes
days to learn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from training import checkpoints, losses, models
from training import gsrnet_losses as equations
from training.data import Photographs, Samples
from training.errors import UnknownName
from training.fit import Fit, FitSettings, Partner, write
from training.forgers import GSRNET, Forger
from training.gsrnet_losses import Weights
from training.models.gsrnet import GSRNet, log_mean_odds
from training.nn.detector import Detector
from training.nn.patchgan import PatchGAN
from training.nn.pixels import unit_range
from training.nn.unet import UNet
from training.recipes.psccnet import VALIDATION_SEED, Recipe, residual_start, validation
from training.settings import taken
from training.sheet import Sheet
from training.synthesis import Finish
from training.synthesis.sample import Sample

OTHERS = 1 << 32
"""Added to a seed for authentic frames, which are then of other photographs than the manipulated ones."""
LEVELS = 7
"""Halvings of the generator: frames down to one pixel at 128 px, where the authors have 8 at 256."""
RATES = {"discriminator": 0.1, "generator": 0.2}
"""Learning rates over the segmenter's: about the published 5e-5 and 1e-4 beside what fresh weights need, 1e-3."""
BETAS = (0.5, 0.999)
GAIN = 16.0
"""Of the first convolution's residuals, beside which the constant under a variance then weighs little."""
SHOWN = 6
"""Frames of the contact sheet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """What is left of GSR-Net."""

    boundary: bool = False
    """Whether the boundary is predicted."""
    copied: bool = False
    """Whether copies are learned from."""
    generated: bool = False
    """Whether what the generator makes of them is."""
    refined: bool = False
    """Whether copies with their predicted boundary overwritten are."""


ABLATIONS = {
    "dl": Ablation(),
    "dl+b": Ablation(boundary=True),
    "dl+cp": Ablation(copied=True),
    "dl+g": Ablation(generated=True),
    "dl+cp+g": Ablation(copied=True, generated=True),
    "gs-net": Ablation(boundary=True, copied=True, generated=True),
    "gsr-net": Ablation(boundary=True, copied=True, generated=True, refined=True),
}
"""Rows of table 2, and ``dl+b``: the segmenter as it ships, with its boundary and without rivals."""


class Triples(Dataset[tuple[Tensor, ...]]):
    """A frame S, uint8 [s, s, 3], its mask K, bool [s, s], and an authentic frame T, which has nothing to do with S."""

    def __init__(
        self, photographs: Photographs, recipe: Recipe, *, seed: int, size: int, ramp: int = 0,
        finish: Finish | None = None,
    ) -> None:  # fmt: skip
        how = {"size": size, "ramp": ramp, "video": recipe.video}
        self.manipulated = Samples(photographs, seed=seed, finish=finish, **how)
        self.authentic = Samples(photographs, seed=seed + OTHERS, kinds=("authentic",), **how)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """The same on every call."""
        return *self.manipulated[index], self.authentic[index][0]


class Rivals:
    """The three networks and what each of them minimises. The discriminator's turn generates; the others take over."""

    def __init__(self, net: GSRNet, ablation: Ablation, weights: Weights, *, residual: bool = False) -> None:
        self.net, self.ablation, self.weights = net, ablation, weights
        self.generator = UNet(net.config.width, LEVELS, residual=residual)
        self.discriminator = PatchGAN(4, width=net.config.width)
        self.made = torch.empty(0)

    def partners(self) -> dict[str, Partner]:
        """Those that do not ship, in the order of their turns."""
        if not self.ablation.generated:
            return {}
        turns = {"discriminator": (self.discriminator, self.judge), "generator": (self.generator, self.generate)}
        return {name: Partner(net=net, loss=loss, rate=RATES[name], betas=BETAS) for name, (net, loss) in turns.items()}

    def judge(self, source: Tensor, mask: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss, equation 6."""
        source, mask, target = planes(source), planes(mask), planes(target)
        self.made = self.generator(equations.copied(source, target, mask), mask)
        real, fake = (self.discriminator(seen(frame, mask)) for frame in (target, self.made.detach()))
        return {"discrimination": equations.discrimination(real, fake)}

    def generate(self, source: Tensor, mask: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The generator's loss, equation 7."""
        source, mask, target = planes(source), planes(mask), planes(target)
        judged = self.discriminator(seen(self.made, mask))
        return equations.generation(self.made, source, target, mask, judged=judged, weights=self.weights)

    def segment(self, _: Detector, source: Tensor, mask: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The segmenter's loss, the mean over all that it is shown."""
        area = planes(mask)
        copy = torch.where(mask[..., None], source, target)
        shown = [(copy, area)] if self.ablation.copied else []
        shown += [(source, area)]
        shown += [(pixels(self.made.detach()), area)] if self.ablation.generated else []
        frames, truth = (torch.cat(parts) for parts in zip(*shown, strict=True))
        found, edge = self._predicted(frames)
        if self.ablation.refined:
            overwritten = (edge[: len(copy)] > 0).float()
            again, left = equations.refined(planes(target), planes(copy), area, overwritten)
            more, more_edge = self._predicted(pixels(again))
            found, edge, truth = torch.cat([found, more]), torch.cat([edge, more_edge]), torch.cat([truth, left])
        terms = {"localisation": losses.balanced_bce(found[:, 0], truth[:, 0])}
        if edge is not None:
            terms["boundary"] = self.weights.outline * equations.boundary(edge, truth)
        if self.weights.score:
            margin = log_mean_odds(found)[:, 0]
            terms["score"] = self.weights.score * losses.detection(margin, truth.flatten(1).any(1))
        return terms

    def _predicted(self, frame: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.net.predictions(unit_range(frame, torch.float32))


def planes(x: Tensor) -> Tensor:
    """Frames ``[N, H, W, 3]`` or masks ``[N, H, W]`` to float32 ``[N, C, H, W]`` of the same values."""
    return (x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)).float()


def pixels(x: Tensor) -> Tensor:
    """Float ``[N, 3, H, W]`` in 0..255 to frames, uint8 ``[N, H, W, 3]``."""
    return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def seen(frame: Tensor, mask: Tensor) -> Tensor:
    """What the discriminator judges: a frame and where it might be forged."""
    return torch.cat([frame / 127.5 - 1, mask], dim=1)


def fit(
    name: str, folder: Path, recipe: Recipe, settings: FitSettings, *, ablation: str = "gsr-net", **options: object
) -> None:
    """Train ``name`` as a row of :data:`ABLATIONS` into ``folder``, or go on where ``folder`` stands.

    ``options`` are fields of :class:`training.gsrnet_losses.Weights` or settings of the model.
    """
    if ablation not in ABLATIONS:
        raise UnknownName("ablation of gsrnet", ablation, ABLATIONS)
    torch.manual_seed(recipe.seed)
    weights = taken(Weights, options, of=name)
    detector = models.create(name, **{"boundary": ABLATIONS[ablation].boundary, **options})
    if recipe.weights is None:
        start(detector.net.deeplab.blocks[0][0].weight)
    else:
        detector.load_state_dict(checkpoints.fitting(recipe.weights, detector, model=name))
    rivals = Rivals(detector.net, ABLATIONS[ablation], weights, residual=name != "gsrnet")
    choices = recipe.choices(settings, ablation=ablation, **asdict(weights))
    photographs, held_out = Photographs(recipe.photographs, "train"), Photographs(recipe.photographs, "validation")
    run = Fit(name, detector, folder, settings, partners=rivals.partners(), choices=choices)
    detector.net.deeplab.blocks[0][0].weight.requires_grad_(run.choices["weights"] is not None)
    for stage in recipe.stages:
        watch = partial(watched, run=run, rivals=rivals, held_out=held_out, recipe=recipe, size=stage.size)
        how = {"seed": recipe.seed, "size": stage.size, "ramp": recipe.ramp, "finish": Forger.of(recipe.forgers)}
        triples = Triples(photographs, recipe, **how)
        run.run(triples, rivals.segment, batch=stage.batch, until=stage.until, validate=watch)


@torch.no_grad()
def start(first: Tensor) -> None:
    """Let the first convolution, ``[C, 3, 3, 3]``, begin and stay as second differences; grey ones first if narrow.

    As :func:`training.recipes.psccnet.residual_start` explains, whose filters these are, each with its negative.
    """
    filters = torch.randn(64, *first.shape[1:])
    residual_start(filters)
    grey_first = filters[:24].reshape(6, 4, *first.shape[1:])[:, [3, 0, 1, 2]].transpose(0, 1).flatten(0, 1)
    half = len(first) * 3 // 8
    first[:half], first[half : 2 * half] = GAIN * grey_first[:half], -GAIN * grey_first[:half]
    first.requires_grad_(False)


def watched(
    detector: Detector, *, run: Fit, rivals: Rivals, held_out: Photographs, recipe: Recipe, size: int
) -> dict[str, float]:
    """Figures on validation samples; on the way the generator, and a column of the contact sheet ``generated.png``."""
    if rivals.ablation.generated:
        show(run, rivals.generator.eval(), Triples(held_out, recipe, seed=VALIDATION_SEED, size=size))
        rivals.generator.train()
    if not recipe.validation_samples:
        return {}
    samples = Samples(held_out, seed=VALIDATION_SEED, size=size, video=recipe.video)
    return validation(detector, samples, count=recipe.validation_samples)


def show(run: Fit, generator: UNet, triples: Triples) -> None:
    """Write the generator as a forger (:mod:`training.forgers`), and what it makes of the first copies."""
    content = {"settings": generator.settings, "state": generator.state_dict()}
    write(run.folder / "generator.pt", {"model": GSRNET, **content})
    indices = (index for index in count() if triples.manipulated.sample(index).label)
    source, mask, target = (torch.stack(x) for x in zip(*(triples[i] for i in islice(indices, SHOWN)), strict=True))
    copies = torch.where(mask[..., None], source, target)
    made = generator.pixels(copies.to(run.device), mask.to(run.device)).cpu().numpy()
    samples = [Sample(frame, area) for frame, area in zip(copies.numpy(), mask.numpy(), strict=True)]
    Sheet(run.folder / "generated", samples).add(run.progress.step, list(made))
