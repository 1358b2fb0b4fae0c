"""Frames per second of the public interface, beside eager and compiled PyTorch and beside what the device could do.

    python -m benchmarks.throughput [--artifact NAME] [--device cpu] [--size 1920x1080] [--working-size 512] [--batch 1]

Three figures for each model, backend, precision, frame and batch: the graphs alone, a frame in host memory to its
result, and the bytes of a JPEG to the result; then ``imdl stream`` on a clip of such frames from end to end. Writes
``benchmarks/results/throughput-<artifact>-<host>.json``. Run it on a quiet machine: the load is recorded. A row whose
stages are not the wall time within 3 % is named, and has no figure of the graphs alone. The file is written after every
setting: one that is cut off lacks what comes after.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bounds import least_s, rates
from benchmarks.clip import Playback, play, synthesise
from benchmarks.contenders import DETECTOR, FACTS, HOST_STAGES
from benchmarks.entry import RESULTS, heading, write
from benchmarks.latency import Entry, Protocol, Race, of_words, size, torch_side
from benchmarks.measure import percentiles
from benchmarks.turn import Turn, TurnFailed, times_of
from kernels.area_shrink.reference import working_shape
from sdk import artifact as artifacts
from sdk.artifact import Artifact

UNACCOUNTED = 0.03
"""Share of the wall time by which the sum of the stages may miss it."""
SHORTEST = 12
"""Frames of a clip at least."""
FILE = "file "
"""Mark in the name of a contender that starts from the bytes of a file."""


class Setting(NamedTuple):
    """What all contenders of a race are given."""

    height: int
    width: int
    working_size: int
    """Long side at which the frame is analysed, px; 0 is its own."""
    batch: int

    @property
    def work(self) -> str:
        """As :mod:`benchmarks.torch_side` names it."""
        return f"{self.width}x{self.height}@{self.working_size}"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.work} x{self.batch}"

    def row(self) -> dict[str, object]:
        """Its part of every row, with the size that the network sees."""
        shrinks = 0 < self.working_size < max(self.height, self.width)
        rows, columns = (self.height, self.width)
        if shrinks:
            rows, columns = working_shape(self.height, self.width, self.working_size)
        return {**self._asdict(), "network_height": int(rows), "network_width": int(columns)}


def field(artifact: Artifact, torch_files: Path, setting: Setting, options: argparse.Namespace) -> dict[str, Entry]:
    """The contenders by name; the last word of a name is its precision."""
    common = {
        "threads": options.threads, "device": options.device, "working_size": setting.working_size,
        "batch": setting.batch,
    }  # fmt: skip
    entries: dict[str, Entry] = {}
    for precision in options.precision:
        for backend in options.backend:
            chosen = {"artifact": str(artifact.path), "backend": backend, "precision": precision, **common}
            entries[f"imdl {backend} {precision}"] = ("ours", chosen)
            if setting.batch == 1:
                entries[f"imdl {FILE}{backend} {precision}"] = ("ours", {**chosen, "as_file": True})
        weights = {"checkpoint": str(torch_files / DETECTOR), "precision": precision, **common}
        if precision == "f32" or options.device != "cpu":  # in low precision a CPU is left to the compiler
            entries[f"eager torch {precision}"] = ("eager", weights)
        entries[f"compiled torch {precision}"] = ("compiled", weights)
    return entries


def rate(times_ms: Iterable[float], batch: int) -> dict[str, float | int]:
    """Frames per second of the median call, and the :func:`percentiles` of calls."""
    found = percentiles(times_ms)
    return {"fps": 1e3 * batch / found["p50_ms"], **found}


def rows(race: Race, setting: Setting, bounds: Mapping[str, float]) -> Iterator[dict[str, object]]:
    """One row for each contender that ran and starts from a frame; figures from a file are a part of it.

    ``bounds`` are seconds of a frame by precision.
    """
    for name in race.present:
        if FILE in name:
            continue
        turns, (run_by, _, precision) = race.turns[name], name.rpartition(" ")
        row = {"run_by": run_by, "precision": precision, **setting.row()}
        row["frame"] = rate(times_of(turns), setting.batch)
        row |= _by_stage(turns, setting, bounds.get(precision))
        file = f"imdl {FILE}{run_by.removeprefix('imdl ')} {precision}"
        row["file"] = rate(times_of(race.turns[file]), 1) if file in race.present else None
        row["peak_rss_mib"] = max(turn.peak_rss_mib for turn in turns)
        row["device_mib"] = max((turn.device_mib for turn in turns if turn.device_mib), default=None)
        yield row


def _calls(turns: Sequence[Turn]) -> list[float]:
    return [ms for turn in turns for ms in turn.times_ms]


def _by_stage(turns: Sequence[Turn], setting: Setting, bound_s: float | None) -> dict[str, object]:
    """What the stages say: the graphs alone, what share of the wall time all stages are, how near the bound it is."""
    stages = {name: [ms for turn in turns for ms in turn.stages_ms[name]] for name in turns[0].stages_ms}
    bound_fps = None if bound_s is None else 1 / bound_s
    if not stages:
        return {"engine": None, "stages_ms": {}, "accounted": None, "bound_fps": bound_fps, "reached": None}
    graphs = [sum(call) for call in zip(*(ms for name, ms in stages.items() if name not in HOST_STAGES), strict=True)]
    totals = np.array([sum(call) for call in zip(*stages.values(), strict=True)])
    accounted = float(np.median(totals / np.array(times_of(turns))))
    engine = rate(graphs, setting.batch) if abs(accounted - 1) <= UNACCOUNTED else None
    return {
        "engine": engine,
        "stages_ms": {name: float(np.median(ms)) for name, ms in stages.items()},
        "accounted": accounted,
        "bound_fps": bound_fps,
        "reached": float(engine["fps"]) / bound_fps if engine and bound_fps else None,
    }


def unaccounted(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The rows whose stages are not the wall time, by name."""
    return [
        f"{row['run_by']} {row['precision']} at {Setting(*(row[key] for key in Setting._fields)).name}: "
        f"its stages are {row['accounted']:.1%} of the wall time"
        for row in found
        if row["accounted"] is not None and abs(row["accounted"] - 1) > UNACCOUNTED
    ]


def streamed(
    artifact: Artifact, options: argparse.Namespace, folder: Path, found: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, object]]:
    """``imdl stream`` on a clip of each setting, by whatever made single frames into the rows ``found``."""
    for setting in settings(options):
        rates = {
            (row["run_by"], row["precision"]): row["frame"]["fps"]
            for row in found
            if setting.batch == 1 and setting.row().items() <= row.items()
        }
        for backend in options.backend:
            for precision in options.precision:
                if fps := rates.get((f"imdl {backend}", precision)):
                    clip = _clip(folder, setting, length(options, fps))
                    yield _played(artifact, clip, setting, options, backend=backend, precision=precision)


def _clip(folder: Path, setting: Setting, frames: int) -> Path:
    clip = folder / f"{setting.width}x{setting.height}-{frames}.mp4"
    if not clip.exists():
        synthesise(clip, height=setting.height, width=setting.width, frames=frames)
    return clip


def length(options: argparse.Namespace, fps: float) -> int:
    """Frames of a clip: as many as are asked for, or can be expected in the seconds that a turn may take."""
    most = options.frames if options.seconds is None else int(options.seconds * fps)
    return min(options.frames, max(SHORTEST, most))


def _played(
    artifact: Artifact, clip: Path, setting: Setting, options: argparse.Namespace, *, backend: str, precision: str
) -> dict[str, object]:
    chosen = ["--model", str(artifact.path), "--working-size", str(setting.working_size or "native")]
    chosen += ["--backend", backend, "--precision", precision, "--device", options.device]
    chosen += ["--threads", str(options.threads)]
    row = {"run_by": f"imdl stream {backend}", "precision": precision, **setting.row()}
    try:
        playback: Playback = play(clip, chosen, limit_s=options.limit)
    except TurnFailed as failure:
        return {**row, "failed": str(failure)}
    print(f"{setting.work} {row['run_by']} {precision}: {playback.fps:.1f} FPS", file=sys.stderr, flush=True)
    return {**row, **rate(playback.gaps_ms, 1), **dataclasses.asdict(playback, dict_factory=_figures)}


def _figures(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """All but the single times."""
    return {key: value for key, value in pairs if key != "gaps_ms"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    root.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    root.add_argument("--checkpoint", type=Path, help="what the artifact was made of; without it: fresh weights")
    root.add_argument("--card", type=Path, help="the card that the artifact was made with")
    root.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    root.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    root.add_argument("--backend", nargs="+", default=["openvino", "onnxruntime"])
    root.add_argument("--precision", nargs="+", default=["f32", "bf16"])
    root.add_argument("--size", type=size, nargs="+", default=[(512, 512), (1080, 1920)], metavar="WxH")
    root.add_argument("--working-size", type=int, nargs="+", default=[0, 512], metavar="PX")
    root.add_argument("--batch", type=int, nargs="+", default=[1])
    root.add_argument("--frames", type=int, default=60, help="length of the clips; 0 leaves the stream out")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--rounds", type=int, default=3)
    root.add_argument("--warmup", type=int, default=1, help="calls of each turn that are thrown away, at least 1")
    root.add_argument("--calls", type=int, default=5, help="calls of each turn that count")
    root.add_argument("--seconds", type=float, help="that a turn's calls, or a clip, may take; slow ones get fewer")
    root.add_argument("--limit", type=float, default=1800, help="seconds that a turn may take")
    root.add_argument("--only", nargs="*", default=[], help="words of the contenders to keep")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def settings(options: argparse.Namespace) -> list[Setting]:
    """Every combination; a working size that changes nothing is left out."""
    return [
        Setting(height, width, working_size, batch)
        for height, width in options.size
        for working_size in options.working_size
        for batch in options.batch
        if working_size < max(height, width)
    ]


def measured(
    artifact: Artifact, options: argparse.Namespace, folder: Path, result: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """``result`` with more and more of what is measured, once after every setting and every stream."""
    seen = rates(options.device, options.precision, threads=options.threads)
    result |= {"rates": seen, "rows": [], "streams": [], "absent": {}, "left_out": [], "unaccounted": []}
    options.work = sorted({setting.work for setting in settings(options)})
    lacking = torch_side(artifact.path, folder, options, plain=False)
    facts = {} if lacking else json.loads((folder / FACTS).read_text(encoding="utf-8"))
    for setting in settings(options):
        everyone = field(artifact, folder, setting, options)
        chosen = of_words(everyone, options.only)
        race = Race(chosen, (setting.height, setting.width), _protocol(options))
        if lacking:
            race.absent = {key: lacking for key, (_, given) in race.entries.items() if str(folder) in str(given)}
        race.run(folder)
        layers = facts.get("layers", {}).get(setting.work, [])
        result["rows"] += rows(race, setting, least_s(layers, seen))
        result["absent"] |= {
            f"{name} at {setting.name}": why.replace(str(folder), "") for name, why in race.absent.items()
        }
        result["left_out"] = sorted({*result["left_out"], *everyone} - set(chosen))
        result["unaccounted"] = unaccounted(result["rows"])
        yield result
    for row in streamed(artifact, options, folder, result["rows"]) if options.frames else ():
        result["streams"].append(row)
        yield result


def _protocol(options: argparse.Namespace) -> Protocol:
    return Protocol(
        threads=options.threads, rounds=options.rounds, warmup=options.warmup, calls=options.calls,
        limit_s=options.limit, seconds=options.seconds,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    options = parser().parse_args(arguments)
    if not settings(options):
        parser().error("no working size is below the longer side of a frame: --working-size 0 is the frame's own")
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    result = heading("throughput", artifact) | {"host": options.host, "device": options.device}
    result["protocol"] = dataclasses.asdict(_protocol(options))
    with tempfile.TemporaryDirectory() as folder:
        for so_far in measured(artifact, options, Path(folder), result):
            named = so_far["unaccounted"]
            target = write(so_far, options.results, host=options.host, hide=artifact.path)
    print("\n".join(named), end="\n" * bool(named), file=sys.stderr)
    print(target)


if __name__ == "__main__":
    main()
