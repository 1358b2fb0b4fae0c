"""Speed of the public interface, beside what the same model takes without it.

    python -m benchmarks.latency [--artifact NAME] [--checkpoint FILE --card FILE] [--rounds 5] [--only WORD ...]

Writes ``benchmarks/results/latency-<artifact>-<host>.json``. Run it on a quiet machine: the load is recorded.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks.bounds import least_s, rates
from benchmarks.contenders import DETECTOR, FACTS, HARDLY, PLAIN
from benchmarks.entry import RESULTS, heading, write
from benchmarks.measure import percentiles, summary
from benchmarks.turn import ROOT, Job, Turn, TurnFailed, reason, take, times_of
from sdk import artifact as artifacts
from sdk.artifact import Artifact

SIZES = ((256, 256), (512, 512), (1080, 1920))
"""Height and width of the frames, px."""
BASE = "eager torch f32"
"""What the others are compared with: their times round by round, their answers once."""

Entry = tuple[str, dict[str, str | int | float]]
"""Function of :mod:`benchmarks.contenders` and its arguments."""


def field(artifact: Artifact, torch_files: Path, *, threads: int) -> dict[str, Entry]:
    """The contenders by name; the last word of a name is its precision."""
    checkpoint, plain = str(torch_files / DETECTOR), str(torch_files / PLAIN)
    ours, whole = str(artifact.path), str(artifact.path / "model.onnx")
    entries: dict[str, Entry] = {
        BASE: ("eager", {"checkpoint": checkpoint}),
        "compiled torch bf16": ("compiled", {"checkpoint": checkpoint}),
        "plain onnxruntime f32": ("onnxruntime_graph", {"file": plain}),
        "one piece onnxruntime f32": ("onnxruntime_graph", {"file": whole}),
        "imdl onnxruntime f32": ("ours", {"artifact": ours, "backend": "onnxruntime", "precision": "f32"}),
    }
    for precision in ("f32", "bf16"):
        chosen: dict[str, str | int | float] = {"precision": precision}
        ready = {"artifact": ours, "backend": "openvino", **chosen}
        entries[f"plain openvino {precision}"] = ("openvino_graph", {"file": plain, **chosen})
        entries[f"one piece openvino {precision}"] = ("openvino_graph", {"file": whole, **chosen})
        entries[f"imdl openvino {precision}"] = ("ours", ready)
        entries[f"imdl score only {precision}"] = ("ours", {**ready, "min_score": HARDLY})
    return {name: (load, {**options, "threads": threads}) for name, (load, options) in entries.items()}


def of_words(entries: Mapping[str, Entry], words: Sequence[str]) -> dict[str, Entry]:
    """The contenders that have one of ``words`` in their name; all where there are none."""
    return {name: entry for name, entry in entries.items() if not words or any(word in name for word in words)}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """How often, and for how long at most."""

    threads: int
    rounds: int
    warmup: int
    calls: int
    limit_s: float
    seconds: float | None = None
    """What the calls of a turn may take together."""


class Race:
    """Rounds of turns at one frame size: each contender alone in memory, first place going round."""

    def __init__(self, entries: Mapping[str, Entry], size: tuple[int, int], protocol: Protocol) -> None:
        self.entries, self.size, self.protocol = entries, size, protocol
        self.turns: dict[str, list[Turn]] = {name: [] for name in entries}
        self.absent: dict[str, str] = {}
        """Why a contender did not run; it has no further turn."""
        self.distances: dict[str, dict[str, float | None]] = {}
        """Largest difference of a contender's answer from the base's; empty where the base has other weights."""

    def run(self, folder: Path) -> None:
        """Every round; answers of the first are left in ``folder``."""
        names = list(self.entries)
        for turn in range(self.protocol.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                if name not in self.absent:
                    self._turn(name, folder / f"{name}.npz" if turn == 0 else None)

    def compare(self, folder: Path) -> None:
        """How far the answers in ``folder`` are from the base's."""
        self.distances = {name: distance(folder / f"{name}.npz", folder / f"{BASE}.npz") for name in self.present}

    @property
    def present(self) -> list[str]:
        """Contenders that ran in every round."""
        return [name for name in self.entries if name not in self.absent]

    def _turn(self, name: str, answer: Path | None) -> None:
        (load, options), (height, width), protocol = self.entries[name], self.size, self.protocol
        job = Job(
            load=load, options=options, height=height, width=width, warmup=protocol.warmup, calls=protocol.calls,
            seconds=protocol.seconds, answer=answer and str(answer),
        )  # fmt: skip
        try:
            self.turns[name].append(take(job, limit_s=protocol.limit_s))
        except TurnFailed as failure:
            self.absent[name] = str(failure)
            words = self.absent[name]
        else:
            words = f"{self.turns[name][-1].wall_ms:,.1f} ms"
        print(f"{width}x{height} {name}: {words}", file=sys.stderr, flush=True)

    def rows(self, share: float | None, least: Mapping[str, float] = MappingProxyType({})) -> list[dict[str, object]]:
        """One row for each contender that ran; ``share`` of the work is localisation's.

        ``least`` are the seconds, by precision, that the work takes at this machine's rates.
        """
        return [self._row(name, share) | _least(name, least) for name in self.present]

    def _row(self, name: str, share: float | None) -> dict[str, object]:
        turns = self.turns[name]
        row: dict[str, object] = {"contender": name.rpartition(" ")[0], "precision": name.rpartition(" ")[2]}
        row |= {"height": self.size[0], "width": self.size[1]}
        row |= dataclasses.asdict(summary([turn.wall_ms for turn in turns]))
        row |= percentiles(times_of(turns))
        row |= {key: statistics.median(getattr(turn, key) for turn in turns) for key in ("cpu_ms", "ready_s")}
        row |= {"peak_rss_mib": max(turn.peak_rss_mib for turn in turns), "speedup": self._ratio(BASE, name)}
        row |= self.distances.get(name, {})
        whole = name.replace("score only", "openvino")
        if whole != name:
            kept = self._ratio(name, whole)
            row |= {"saved": None if kept is None else 1 - kept, "saved_at_most": share}
        return row

    def _ratio(self, name: str, other: str) -> float | None:
        """Median over the rounds of how many times as long ``name`` took as ``other`` in the same round."""
        if not {name, other} <= set(self.present):
            return None
        pairs = zip(self.turns[name], self.turns[other], strict=True)
        return statistics.median(a.wall_ms / b.wall_ms for a, b in pairs)


def _least(name: str, least: Mapping[str, float]) -> dict[str, object]:
    """Milliseconds that a contender for the whole work takes at least; nothing for one that stops at the score."""
    precision = name.rpartition(" ")[2]
    return {"least_ms": 1e3 * least[precision]} if precision in least and "score only" not in name else {}


def distance(answer: Path, base: Path) -> dict[str, float | None]:
    """Largest difference of an answer from the base's; None where one of the two has no heatmap."""
    if not base.is_file():
        return {"max_abs_heatmap": None, "abs_score": None}
    with np.load(answer) as mine, np.load(base) as theirs:
        heatmap = float(np.abs(mine["heatmap"] - theirs["heatmap"]).max()) if mine["heatmap"].size else None
        return {"max_abs_heatmap": heatmap, "abs_score": float(abs(mine["score"] - theirs["score"]))}


def torch_side(artifact: Path, folder: Path, options: argparse.Namespace, *, plain: bool = True) -> str:
    """Write the torch model and, unless ``plain`` is False, its plain export and shares of its work into ``folder``.

    That happens in a process which is gone when times are taken. Returns why it cannot be done here, or nothing.
    """
    command = [sys.executable, "-m", "benchmarks.torch_side", str(artifact), "--out", str(folder)]
    if plain:
        command += ["--plain", *(f"--size={width}x{height}" for height, width in options.size or SIZES)]
    command += [f"--work={text}" for text in getattr(options, "work", [])]
    for name in ("checkpoint", "card"):
        if getattr(options, name):
            command += [f"--{name}", str(getattr(options, name).resolve())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return reason(done.stderr) if done.returncode else ""


def size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` as height and width, px."""
    width, height = map(int, text.split("x"))
    return height, width


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    root.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    root.add_argument("--checkpoint", type=Path, help="what the artifact was made of; without it: fresh weights")
    root.add_argument("--card", type=Path, help="the card that the artifact was made with")
    root.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    root.add_argument("--size", type=size, action="append", metavar="WxH", help="repeatable; default: 256, 512, 1080p")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--rounds", type=int, default=5)
    root.add_argument("--warmup", type=int, default=1, help="calls of each turn that are thrown away, at least 1")
    root.add_argument("--calls", type=int, default=3, help="calls of each turn that count")
    root.add_argument("--limit", type=float, default=1800, help="seconds that a turn may take")
    root.add_argument("--only", nargs="*", default=[], help="words of the contenders to keep")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    options = parser().parse_args(arguments)
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    protocol = Protocol(
        threads=options.threads,
        rounds=options.rounds,
        warmup=options.warmup,
        calls=options.calls,
        limit_s=options.limit,
    )
    result = heading("latency", artifact) | {"protocol": {"batch": 1, **dataclasses.asdict(protocol)}}
    rows: list[dict[str, object]] = []
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.work = [f"{width}x{height}@0" for height, width in options.size or SIZES]
        lacking = torch_side(artifact.path, folder, options)
        seen = {} if lacking else rates("cpu", ("f32", "bf16"), threads=options.threads)
        facts = {} if lacking else json.loads((folder / FACTS).read_text(encoding="utf-8"))
        entries = field(artifact, folder, threads=options.threads)
        chosen = of_words(entries, options.only)
        for height, width in options.size or SIZES:
            race = Race(chosen, (height, width), protocol)
            if lacking:
                race.absent = {key: lacking for key, (_, given) in chosen.items() if name in str(given)}
            race.run(folder)
            if facts.get("same_weights"):
                race.compare(folder)
            least = least_s(facts.get("layers", {}).get(f"{width}x{height}@0", []), seen)
            rows += race.rows(facts.get("shares", {}).get(f"{width}x{height}"), least)
            absent |= {f"{key} at {width}x{height}": words.replace(name, "") for key, words in race.absent.items()}
    left_out = sorted(set(entries) - set(chosen))
    result |= {"rates": seen, "rows": rows, "absent": absent, "left_out": left_out}
    print(write(result, options.results, host=options.host, hide=artifact.path))


if __name__ == "__main__":
    main()
