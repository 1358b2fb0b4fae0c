"""The least time of a model's work on this machine, by precision: :mod:`benchmarks.roofline`, which needs torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.turn import ROOT, reason

Rates = Mapping[str, Mapping[str, float]]
"""By precision what :class:`benchmarks.roofline.Rates` holds."""


def rates(device: str, precisions: Iterable[str], *, threads: int) -> Rates:
    """What the device is seen to do, by precision, in processes of their own."""
    found = {}
    for precision in precisions:
        command = [sys.executable, "-m", "benchmarks.roofline", "--device", device, "--precision", precision]
        done = subprocess.run(
            [*command, "--threads", str(threads)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"no rates in {precision}: {reason(done.stderr)}", file=sys.stderr)
            continue
        found[precision] = json.loads(done.stdout)
    return found


def least_s(layers: Sequence[Sequence[int]], seen: Rates) -> dict[str, float]:
    """Seconds that a frame takes at least, by precision; nothing where no layers are known."""
    if not layers:
        return {}
    from benchmarks.roofline import Layer, Rates, bound_s

    work = [Layer(*layer) for layer in layers]
    return {precision: bound_s(work, Rates(**found), precision=precision) for precision, found in seen.items()}
