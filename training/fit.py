"""What all recipes share: the loop, its schedule, mixed precision, EMA, checkpoints that resume exactly, and a log.

A run is a folder: ``settings.json``, ``log.jsonl`` (one JSON object per report), ``curve.png``, ``checkpoint.pt`` (all
that resuming needs) and ``ema.pt`` (``{"model", "settings", "state"}``, the averaged weights in the form that ships).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.checkpoints import differences
from training.curve import plot
from training.display import Display, display, losses
from training.nn.detector import Detector
from training.reporting import Report

SETTLING_BATCHES = 8
"""Batches over which the statistics of batch normalisation are taken anew for weights that ship."""

Batch = Sequence[Tensor]
"""Frames, masks, and whatever else the samples hold."""
Loss = Callable[..., dict[str, Tensor]]
"""(detector, frames, masks, ...) -> named terms; their sum is minimised."""
Validate = Callable[[Detector], dict[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """How long, how fast, how often. Either ``steps`` or ``minutes`` is the budget that the schedule spans."""

    steps: int = 0
    """Budget in steps; 0 leaves it to ``minutes``."""
    minutes: float = 0.0
    """Budget in minutes over all resumed parts, validation included: what the last one took is kept for that at the
    end, so only a run that validates for the first time there outlives its budget."""
    rate: float = 1e-3
    """Peak learning rate of AdamW."""
    warmup_steps: int = 100
    """Steps of linear rise to the peak."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.998
    """Decay of the averaged weights; lower in the first steps."""
    bf16: bool = True
    """Autocast to bfloat16."""
    compiler: str | None = None
    """Backend of torch.compile for the loss and all that it runs: "inductor" where it pays; None runs eagerly.
    On a 2-core CPU it does not: 14.9 images/s of psccnet-lite at 128 px in bf16 against 18.0."""
    device: str = "cpu"
    workers: int = 1
    """Processes that make samples; 0 makes them in the loop."""
    report_steps: int = 20
    save_minutes: float = 5.0
    publish_minutes: float = 8.0
    """Between two validations, each of which also writes ``ema.pt``."""

    def __post_init__(self) -> None:
        for name in ("steps", "minutes", "workers"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}\n  -> give 0 or more")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate is {self.rate}\n  -> give a number above 0")
        if (self.steps > 0) == (self.minutes > 0):
            raise ValueError(f"steps={self.steps} and minutes={self.minutes}\n  -> give exactly one of them")


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far a run is."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    """Time spent so far, earlier parts included."""
    waited: float = 0.0
    """Seconds of these spent waiting for data."""
    published: float = 0.0
    """``seconds`` when the averaged weights were last written and validated."""
    publishing: float = 0.0
    """Seconds that this took, counted in ``seconds``."""

    def fraction(self, settings: FitSettings) -> float:
        """Share of the budget that is used, in [0, 1]; of minutes, those that publishing needs at the end left out."""
        if settings.steps:
            return min(self.step / settings.steps, 1.0)
        left = 60 * settings.minutes - self.publishing
        return min(self.seconds / left, 1.0) if left > 0 else 1.0


def learning_rate(settings: FitSettings, step: int, fraction: float) -> float:
    """Linear warm-up over steps, then a half cosine over the budget that ends at 1 % of the peak."""
    warm = min((step + 1) / settings.warmup_steps, 1.0) if settings.warmup_steps else 1.0
    return settings.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fraction)))


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers as zero on this thread: arithmetic with them takes CPUs many times as long."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@dataclass(kw_only=True, slots=True)
class Partner:
    """A network that learns beside the detector, in turn with it, and does not ship."""

    net: nn.Module
    loss: Callable[..., dict[str, Tensor]]
    """(frames, masks, ...) -> named terms; their sum is minimised in the weights of ``net`` alone."""
    rate: float = 1.0
    """Its learning rate over the detector's."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of Adam's means of the gradient and of its square."""
    optimiser: torch.optim.Optimizer = field(init=False)


class Fit:
    """One run: owns the detector, its average, the optimiser and the folder.

    Every step is a turn of each of the ``partners``, in their order, on one and the same batch, and then one of the
    detector. What is random in it (dropout, for instance) depends on the number of the step alone.
    """

    def __init__(
        self, name: str, detector: Detector, folder: Path, settings: FitSettings, *,
        partners: Mapping[str, Partner] | None = None, choices: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        """``choices``, in JSON types, are what else a run is held to: it goes on with the same or not at all.

        A choice of None leaves it to how the run began.

        Raises:
            ValueError: ``folder`` holds a run of something else.
        """
        self.choices = dict(choices or {})
        self.name, self.folder, self.settings = name, folder, settings
        try:
            self.device = torch.device(settings.device)
        except RuntimeError as error:
            raise ValueError(f"no device is named {settings.device!r}\n  -> give cpu or cuda") from error
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("this torch finds no NVIDIA GPU\n  -> install its CUDA build, or train on --device cpu")
        self.detector = detector.to(self.device, memory_format=torch.channels_last)
        self.average = {key: value.detach().clone() for key, value in self.detector.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.detector.parameters(), lr=0.0, weight_decay=settings.weight_decay, fused=True
        )
        self.partners = dict(partners or {})
        for partner in self.partners.values():
            partner.net.to(self.device, memory_format=torch.channels_last).train()
            partner.optimiser = torch.optim.AdamW(
                partner.net.parameters(), lr=0.0, betas=partner.betas, weight_decay=0.0, fused=True
            )
        self.progress = Progress()
        self._published = -1
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            self._resume(torch.load(folder / "checkpoint.pt", map_location=self.device, weights_only=True))
        else:
            told = {"model": name, "architecture": detector.settings, "choices": self.choices, **asdict(settings)}
            (folder / "settings.json").write_text(json.dumps(told, indent=2) + "\n")

    def run(
        self,
        samples: Dataset[tuple[Tensor, ...]],
        loss: Loss,
        *,
        batch: int,
        until: float = 1.0,
        validate: Validate | None = None,
    ) -> None:
        """Train on batches of ``batch`` until the share ``until`` of the budget is spent; at once if it is already."""
        if self.progress.fraction(self.settings) >= until:
            return
        with display(self.name, self.settings.minutes) as shown, flushed_denormals():
            shown.say(f"trains in {self.folder} until {until:.0%} of the budget; makes the first batch")
            publish = partial(self._publish, samples, batch, validate, shown)
            self._train(samples, self._compiled(loss), batch=batch, until=until, publish=publish, shown=shown)
            if self._published != self.progress.step:
                publish()
        self.save()

    def _train(
        self,
        samples: Dataset[tuple[Tensor, ...]],
        loss: Loss,
        *,
        batch: int,
        until: float,
        publish: Callable[[], None],
        shown: Display,
    ) -> None:
        report, batches = Report(self.progress), self._batches(samples, batch)
        started = saved = time.monotonic()
        while self.progress.fraction(self.settings) < until:
            asked = time.monotonic()
            batch_now = next(batches)
            self.progress.waited += time.monotonic() - asked
            report.add(self._step(batch_now, loss))
            now = time.monotonic()
            self.progress.seconds += now - started
            started = now
            fraction = self.progress.fraction(self.settings)
            if self.progress.step % self.settings.report_steps == 0 or fraction >= until:
                figures = report.flush(self.progress)
                self._log(figures)
                shown.update(fraction, figures)
            if self.progress.seconds - self.progress.published >= 60 * self.settings.publish_minutes:
                publish()
                started = time.monotonic()  # publishing counts itself
            if now - saved >= 60 * self.settings.save_minutes:
                self.save()
                saved = now

    def _compiled(self, loss: Loss) -> Loss:
        """``loss`` through torch.compile, detector and all; parameters keep their names."""
        return torch.compile(loss, dynamic=False, backend=self.settings.compiler) if self.settings.compiler else loss

    def save(self) -> None:
        """Write what resuming needs."""
        write(self.folder / "checkpoint.pt", {
            "model": self.name, "settings": self.detector.settings, "choices": self.choices,
            "state": self.detector.state_dict(), "average": self.average, "optimiser": self.optimiser.state_dict(),
            "progress": asdict(self.progress),
            "partners": {
                name: {"state": partner.net.state_dict(), "optimiser": partner.optimiser.state_dict()}
                for name, partner in self.partners.items()
            },
        })  # fmt: skip

    def _resume(self, saved: dict[str, object]) -> None:
        if saved["model"] != self.name:
            raise ValueError(f"{self.folder} holds a run of {saved['model']}\n  -> give another --out for {self.name}")
        began = saved.get("choices", {})
        asked = {name: choice for name, choice in self.choices.items() if choice is not None}
        for before, after in ((saved["settings"], self.detector.settings), (began, asked)):
            if told := differences(before, after):
                raise ValueError(f"{self.folder} began with {told}\n  -> go on as it began, or give another --out")
        self.choices |= began
        beside, mine = sorted(saved.get("partners", {})), sorted(self.partners)
        if beside != mine:
            raise ValueError(
                f"{self.folder} learns beside {beside}, not {mine}\n  -> go on as it began, or give another --out"
            )
        self.detector.load_state_dict(saved["state"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for name, partner in self.partners.items():
            partner.net.load_state_dict(saved["partners"][name]["state"])
            partner.optimiser.load_state_dict(saved["partners"][name]["optimiser"])
        self.average = dict(saved["average"])
        self.progress = Progress(**saved["progress"])

    def _batches(self, samples: Dataset[tuple[Tensor, ...]], batch: int) -> Iterator[Batch]:
        """Batches from where the run stands: sample ``i`` is the ``i``-th of the sequence, whoever makes it."""
        return iter(DataLoader(
            samples, batch_size=batch, sampler=Endless(self.progress.samples),
            num_workers=self.settings.workers, prefetch_factor=4 if self.settings.workers else None,
            multiprocessing_context="spawn" if self.settings.workers else None, worker_init_fn=_single_threaded,
            pin_memory=self.device.type == "cuda",
        ))  # fmt: skip

    def _step(self, batch: Batch, loss: Loss) -> dict[str, float]:
        rate = learning_rate(self.settings, self.progress.step, self.progress.fraction(self.settings))
        torch.manual_seed(self.progress.step)
        batch = [tensor.to(self.device, non_blocking=True) for tensor in batch]  # pinned where that counts
        self.detector.train()
        terms: dict[str, Tensor] = {}
        for partner in self.partners.values():
            made, _ = self._turn(partner.net, partner.optimiser, rate * partner.rate, partial(partner.loss, *batch))
            terms |= made
        made, norm = self._turn(self.detector, self.optimiser, rate, partial(loss, self.detector, *batch))
        self.progress.step += 1
        self.progress.samples += len(batch[0])
        self._average()
        return {**{key: value.item() for key, value in (terms | made).items()}, "gradient": norm, "rate": rate}

    def _turn(
        self, net: nn.Module, optimiser: torch.optim.Optimizer, rate: float, loss: Callable[[], dict[str, Tensor]]
    ) -> tuple[dict[str, Tensor], float]:
        """One step of ``optimiser`` on the weights of ``net`` alone; the terms, and the norm of the gradient."""
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            terms = loss()
        weights = [weight for weight in net.parameters() if weight.requires_grad]
        torch.stack(list(terms.values())).sum().backward(inputs=weights)
        norm = torch.nn.utils.clip_grad_norm_(weights, self.settings.clip).item()
        if not math.isfinite(norm):
            raise ValueError(f"the gradient is not finite at step {self.progress.step}\n  -> lower the rate and resume")
        optimiser.step()
        return terms, norm

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.progress.step) / (10 + self.progress.step))
        for key, value in self.detector.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:
                self.average[key].copy_(value)

    def _publish(
        self, samples: Dataset[tuple[Tensor, ...]], batch: int, validate: Validate | None, shown: Display
    ) -> None:
        """Write and validate the averaged weights with settled statistics, then put the trained ones back."""
        shown.say("writes ema.pt and validates it" if validate else "writes ema.pt")
        progress, started = self.progress, time.monotonic()
        trained = {key: value.clone() for key, value in self.detector.state_dict().items()}
        self.detector.load_state_dict(self.average)
        self._settle(samples, batch)
        progress.published = progress.seconds
        write(self.folder / "ema.pt", {
            "model": self.name, "settings": self.detector.settings, "state": self.detector.state_dict(),
            "progress": asdict(progress),
        })  # fmt: skip
        if validate:
            figures = validate(self.detector)
            self._log({"step": progress.step, "minutes": progress.seconds / 60, **figures})
            shown.say(f"validated: {losses(figures)}")
        self.detector.load_state_dict(trained)
        progress.publishing = time.monotonic() - started
        progress.seconds += progress.publishing
        self._published = progress.step

    @torch.no_grad()
    def _settle(self, samples: Dataset[tuple[Tensor, ...]], batch: int) -> None:
        """Statistics of every batch normalisation for the weights as they are: plain means over the next batches.

        Running statistics belong to weights of the past and fit averaged weights badly, most of all in short runs.
        """
        norms = [module for module in self.detector.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative
        self.detector.train()
        for start in range(self.progress.samples, self.progress.samples + SETTLING_BATCHES * batch, batch):
            frame = torch.stack([samples[index][0] for index in range(start, start + batch)])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
                self.detector(frame.to(self.device))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.detector.eval()

    def _log(self, figures: dict[str, float]) -> None:
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({key: _short(value) for key, value in figures.items()}) + "\n")
        if "pixel_auc" in figures:
            plot(self.folder)


class Endless(torch.utils.data.Sampler[int]):
    """The integers from ``start``."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        index = self.start
        while True:
            yield index
            index += 1


def write(path: Path, content: dict[str, object]) -> None:
    """``torch.save`` that replaces ``path`` in one step."""
    beside = path.with_suffix(".part")
    torch.save(content, beside)
    beside.replace(path)


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _single_threaded(worker: int) -> None:
    del worker
    import cv2  # here only: the loop itself needs no OpenCV

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
