"""Memory of ``imdl stream`` over a long clip: flat, or not.

    python -m benchmarks.steady [--frames 20000] [--size 128x96] [--working-size 64]

Writes ``benchmarks/results/steady-<artifact>-<host>.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

from benchmarks.clip import play, synthesise
from benchmarks.entry import RESULTS, heading, write
from benchmarks.latency import size
from sdk import artifact as artifacts


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--size", type=size, default=(96, 128), metavar="WxH")
    parser.add_argument("--working-size", type=int, default=64, metavar="PX")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=3600, help="seconds that it may take")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    height, width = options.size
    chosen = ["--model", str(artifact.path), "--working-size", str(options.working_size), "--device", options.device]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        synthesise(clip, height=height, width=width, frames=options.frames)
        playback = play(clip, [*chosen, "--threads", str(options.threads)], limit_s=options.limit)
    found = {key: value for key, value in dataclasses.asdict(playback).items() if key != "gaps_ms"}
    found |= {"height": height, "width": width, "working_size": options.working_size, "threads": options.threads}
    found["growth_mib"] = playback.quarters_mib[-1] - playback.quarters_mib[1]
    result = heading("steady", artifact) | {"device": options.device} | found
    print(write(result, options.results, host=options.host, hide=artifact.path))


if __name__ == "__main__":
    main()
