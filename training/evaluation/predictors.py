"""What is evaluated: anything that makes a heatmap and a score of a frame. Here, checkpoints of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from training import checkpoints
from training.card import Card
from training.synthesis.sample import Frame

Heatmap = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a predictor says of one frame."""

    heatmap: Heatmap
    """[H, W] in [0, 1], at the frame's own size."""
    score: float | None = None
    """In [0, 1]; None where the predictor knows pixels only."""


class Predictor(Protocol):
    """Frame to heatmap and score; a model, an artifact or a baseline."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def identity(self) -> Mapping[str, object]:
        """What a figure has to say of it, in JSON types: digest, version, settings."""

    @property
    def mask_threshold(self) -> float:
        """Its own cut of a heatmap."""

    @property
    def score_thresholds(self) -> Mapping[str, float]:
        """Its own scores by the false-positive rate they were fitted for, "0.01" and "0.05"; empty without any."""

    @property
    def video_thresholds(self) -> Mapping[str, float]:
        """The same for frames of video; those of photographs where none were fitted."""

    def predict(self, frame: Frame, *, working_size: int | None = None) -> Answer:
        """Analyse RGB [H, W, 3], a model at ``working_size`` px (0: the frame's own, None: its default)."""


class Checkpoint:
    """Weights as training wrote them; calibration and thresholds come from the card measured for them."""

    def __init__(self, file: Path, *, card: Card | None = None, working_size: int | None = None) -> None:
        """Without a card nothing is flagged, a mask starts at 0.5, and frames are analysed at their own size."""
        self.detector = checkpoints.load(file).eval().to(memory_format=torch.channels_last)
        self.name = file.stem if file.stem not in {"ema", "final"} else f"{file.parent.name}/{file.stem}"
        self.mask_threshold = card.mask_threshold if card else 0.5
        default = card.working_size if card else 0
        self.working_size = default if working_size is None else working_size
        levels = card.at(self.working_size) if card else {}
        self.score_thresholds = levels.get("photographs", {})
        self.video_thresholds = levels.get("video", {}) or self.score_thresholds
        if card:
            self.detector.calibration.copy_(torch.tensor(card.calibration))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.identity = {"kind": "checkpoint", "sha256": digest, "working_size": self.working_size}

    @torch.inference_mode()
    def predict(self, frame: Frame, *, working_size: int | None = None) -> Answer:
        """In float32, as it is deployed."""
        size = self.working_size if working_size is None else working_size
        heatmap, score = self.detector(torch.from_numpy(np.ascontiguousarray(frame))[None], size)
        return Answer(heatmap[0].numpy(), float(score[0]))
