"""TensorRT: graphs for engines beside an artifact's others, and engines of them for the GPU that is here.

    python -m export tensorrt ARTIFACT --precision fp16 --plugins

Networks are strongly typed, so a precision is a graph of its own, over the same file of weights. In these graphs our
operators are there as their bodies, and no plugin is needed. For ``--plugins`` there are others beside them, in which
they are nodes, and the engines are built of these.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import inliner

from export import artifact as files
from export import parity
from export.engines import gate
from export.engines.gate import Run
from export.engines.graphs import engine_graphs, with_plugins
from export.engines.thaw import thaw
from export.freeze import lowered
from export.parity import Frame
from export.weights import FILE as WEIGHTS
from export.weights import SharedWeights
from sdk.artifact import Artifact, read
from sdk.contract import ParityRow
from sdk.engines import onepiece
from sdk.engines.cache import Cache
from sdk.engines.profile import Profile
from sdk.engines.trt_backend import Kind
from sdk.engines.trt_run import Engine
from training.nn.detector import Detector


def export(
    artifact: Artifact,
    target: Path,
    *,
    precisions: Sequence[str],
    photographs: Sequence[Frame],
    plugins: bool = False,
) -> Artifact:
    """Write ``artifact`` with graphs for engines to ``target``, which may be where it is; read again, it is returned.

    ``plugins`` adds those with our operators as nodes. What is there already is kept. Raises
    :class:`sdk.errors.ParityFailed`, and writes nothing, where the torch model that is made of the artifact's weights
    does not answer as the artifact does; :class:`sdk.errors.BadSetting` where there is no plugin for it to have.
    """
    graphs = dict(artifact.contract.graphs)
    kinds = [Kind(plugins=each) for each in {False, plugins}]
    lacking = {each: [kind for kind in kinds if kind.named("native", each) not in graphs] for each in precisions}
    if not any(lacking.values()) and artifact.path == target.resolve():
        return artifact
    frozen = thaw(artifact)
    parity.require([gate.thawed_row(frozen, artifact, photographs)])
    known = artifact.contract.sha256
    content = {name: (artifact.path / name).read_bytes() for name in known}
    weights = SharedWeights.of(artifact.path, [name for name in known if name.endswith(".onnx")])
    for precision in (each for each in precisions if lacking[each]):
        for graph, model in engine_graphs(typed(frozen, precision)).items():
            for kind in lacking[precision]:
                name = kind.named(graph, precision)
                file = f"{name}.onnx"
                written = with_plugins(model) if kind.plugins else inliner.inline_local_functions(model)
                content[file] = weights.externalise(written).SerializeToString(deterministic=True)
                graphs[name] = dataclasses.replace(onepiece.GRAPHS[graph], file=file)
    content[WEIGHTS] = bytes(weights)
    sha256 = {name: hashlib.sha256(content[name]).hexdigest() for name in sorted(content)}
    files.write(target, content, dataclasses.replace(artifact.contract, graphs=graphs, sha256=sha256))
    return read(target)


def typed(frozen: Detector, precision: str) -> Detector:
    """``frozen`` in f32, or :func:`export.freeze.lowered` to fp16."""
    return frozen if precision == "f32" else lowered(frozen, torch.float16)


def build(
    artifact: Artifact,
    *,
    precision: str,
    profile: Profile,
    photographs: Sequence[Frame],
    evaluation: Sequence[gate.Pair] = (),
    plugins: bool = False,
) -> tuple[list[str], list[ParityRow]]:
    """Build what is missing of the engines in ``precision`` for this machine's GPU and let them pass the parity gate.

    An engine that is kept for these frames is judged anew. Returns the digests of the engines and the gate's table. One
    over the budget, or one that falls behind on the frames with masks of ``evaluation``, is removed from the cache, and
    :class:`sdk.errors.ParityFailed` raised; :class:`sdk.errors.BadSetting`, before any is built, if none of these fits.
    """
    kind = Kind(plugins=plugins)
    pairs, frozen = gate.fitting(evaluation, profile), thaw(artifact)
    ends = [(profile.batch, *sides, 3) for sides in (profile.smallest, profile.largest)]
    rows: list[ParityRow] = []
    for graph in onepiece.GRAPHS:
        size = None if graph == "native" else artifact.contract.working_size or min(profile.usual)
        shown = dataclasses.replace(profile, working_size=size or 0)
        settings = {"backend": kind.name, "precision": precision, "profile": shown}
        session = kind.open(artifact, graph, device="cuda", precision=precision, threads=None)
        with contextlib.closing(session):
            entry = session.secure(profile, ends)
            try:
                run = _runner(session.engine(entry), shrunk=graph == "shrunk")
                rows += gate.rows(run, frozen, photographs, **settings)
                parity.require(rows)
                gate.require_auc(run, frozen, pairs, profile=shown)
            except BaseException:  # by Ctrl-C too: what was not judged to the end may not serve
                session.discard(entry)
                raise
    digests = [entry.key.digest for entry in Cache().entries() if entry.facts.get("model") == artifact.name]
    return digests, rows


def _runner(engine: Engine, *, shrunk: bool) -> Run:
    def run(frame: Frame, working_size: int) -> tuple[np.ndarray, float]:
        feeds = {"frame": frame[None]}
        if shrunk:
            feeds["working_size"] = np.array(working_size, np.int64)
        found = engine.start(feeds).result()
        return found["heatmap"][0], float(found["score"][0])

    return run
