"""How often frames of authentic clips are flagged: as the clips are, and after one more pass through a codec."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from training.errors import CodecMissing
from training.evaluation.predictors import Predictor
from training.synthesis.sample import Frame

FRAMES = 30
"""Frames looked at per clip, evenly spread over those read."""
MOST = 300
"""Frames read of a clip, from its start."""
CRF = 28
"""Constant rate factor of the second coding, as coarse as services that host clips code."""


def read(path: Path) -> Iterator[Frame]:
    """The first :data:`MOST` frames, RGB."""
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise ValueError(f"cannot open {path} as a video\n  -> take it out of the folder")
        for index in range(MOST):
            found, bgr = video.read()
            if not found and index == 0:
                raise ValueError(f"{path} holds no frame\n  -> take it out of the folder")
            if not found:
                return
            yield np.ascontiguousarray(bgr[..., ::-1])
    finally:
        video.release()


def reencode(frames: Iterable[Frame], target: Path) -> None:
    """Write ``frames`` as H.264, 4:2:0, 30 a second, sides cut to even."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise CodecMissing("H.264") from error
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": str(CRF), "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same bits on every machine
        for index, frame in enumerate(frames):
            height, width = (extent // 2 * 2 for extent in frame.shape[:2])
            if index == 0:
                stream.height, stream.width = height, width
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def spread(path: Path) -> Iterator[Frame]:
    """At most :data:`FRAMES` frames, evenly spread."""
    total = sum(1 for _ in read(path))
    wanted = set(np.linspace(0, total - 1, min(FRAMES, total)).round().astype(int).tolist())
    return (frame for index, frame in enumerate(read(path)) if index in wanted)


def flagged(predictor: Predictor, paths: Sequence[Path]) -> list[dict[str, object]]:
    """One row per clip: share of frames that reach the predictor's thresholds, as they are and re-encoded."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            again = Path(folder) / f"{path.stem}.mp4"
            reencode(read(path), again)
            rows.append({"clip": path.name, "as_is": _share(predictor, path), "reencoded": _share(predictor, again)})
    return rows


def _share(predictor: Predictor, path: Path) -> dict[str, object]:
    answers = (predictor.predict(frame) for frame in spread(path))
    scores = np.array([np.nan if answer.score is None else answer.score for answer in answers])
    thresholds = {f"{100 * float(rate):g}": level for rate, level in predictor.video_thresholds.items()}
    return {
        "frames": scores.size,
        "median_score": float(np.median(scores)),
        **{f"flagged_at_{rate}": float((scores >= level).mean()) for rate, level in thresholds.items()},
    }
