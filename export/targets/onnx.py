"""ONNX: the portable artifact that ``sdk.load`` opens, and every runtime that reads standard operators."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import inliner

from export import accuracy, artifact, parity, precision
from export.engines.thaw import thaw
from export.freeze import freeze
from export.graphs import stages, whole
from export.weights import FILE as WEIGHTS
from export.weights import SharedWeights
from sdk.artifact import Artifact
from sdk.contract import Contract, Graph, ParityRow, Passes, Step, Tensor, Thresholds, Tiling
from sdk.errors import ArtifactInvalid
from training.card import Card, precisions_line
from training.nn.detector import Detector
from training.synthesis.life import LOWEST_QUALITY
from training.synthesis.sample import Sample

MINIMUM_SIDE = 64
"""Short side below which nothing is measured, px."""
TILE = (96, 192)
"""Height and width of the local graph's tiles, samples of the stem: small enough for a core's cache, because memory
limits bf16."""
TILE_F32 = (192, 384)
"""The same for f32, which is bound by arithmetic: as large as memory lets halos be cheap."""
WIDEST = (768, 1536)
"""Height and width above which no tile of two passes lies on the frame, px, however few samples its map has."""

EXACT = frozenset({"shrink", "first"})
"""Graphs that are run in f32 whatever the precision: bf16 would round their small differences of large values away."""

MEANINGS = {
    "frame": "RGB photograph, 0..255",
    "working_size": "long side to shrink to, px; 0 or above the long side: as it is",
    "min_score": "score from which frames are localised, in [0, 1]",
    "pixels": "RGB at working size, 0..255",
    "score": "probability that the frame was manipulated anywhere, in [0, 1]",
    "heatmap": "probability that a pixel was manipulated, in [0, 1]; no rows where no frame reached min_score",
    "height": "height of the frame, px",
    "width": "width of the frame, px",
}


def export(
    detector: Detector,
    target: Path,
    *,
    name: str,
    model: str,
    card: Card,
    photographs: Sequence[NDArray[np.uint8]],
    samples: Sequence[Sample] = (),
    required: Collection[str] = ("f32", "weights"),
    unjudged: Collection[str] = (),
) -> Contract:
    """Write ``detector`` as an artifact to the directory ``target``, if it passes the parity gate.

    ``photographs`` are real frames, uint8 ``[H, W, 3]`` RGB, on which torch and the artifact are compared. Returns the
    contract as written, parity table included. fp16 is allowed to the model if the table bears it out, bf16 if the
    answers on ``samples``, whose truth is known, lose nothing that counts (:mod:`export.accuracy`). Raises
    :class:`sdk.errors.ParityFailed` and writes nothing where a precision in ``required`` is over its budget. What
    stands in ``unjudged`` is allowed without evidence, for timing; the card says so.
    """
    frozen = freeze(detector)
    frozen.calibration.copy_(frozen.calibration.new_tensor(card.calibration))
    files, graphs = _files(frozen)
    contract = _contract(frozen, name=name, model=model, card=card, graphs=graphs)
    rounding = parity.rounding_row(detector, frozen, photographs)
    half, peaks = precision.half_rows(frozen, photographs)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / name
        artifact.write(draft, files, dataclasses.replace(contract, sha256=_sha256(files)))
        rows = [rounding, *half, *parity.measure(frozen, draft, photographs)]
        change = accuracy.bf16_changes(draft, samples, working_sizes=card.working_sizes)
    parity.require(row for row in rows if row.precision in required)
    bf16 = bool(change) and all(accuracy.is_allowed(at_size) for at_size in change.values())
    passed = {"bf16": bf16, "fp16": not parity.over_budget(half)}
    allowed = ("f32", *(name for name, is_passed in passed.items() if is_passed or name in unjudged))
    card = dataclasses.replace(
        card, figures={**card.figures, "bf16 against f32": change, "unjudged": list(unjudged), "peaks": peaks}
    )
    files["card.md"] = card.to_markdown(name, allowed).encode()
    contract = dataclasses.replace(contract, parity=tuple(rows), precisions=allowed, sha256=_sha256(files))
    artifact.write(target, files, contract)
    return contract


def renew(before: Artifact, target: Path, *, photographs: Sequence[NDArray[np.uint8]]) -> Contract:
    """Write ``before`` with the graphs that this version makes of its weights to ``target``, which may be where it is.

    Weights, card, thresholds and what precisions are allowed stay, but that fp16, of which all evidence is gathered
    again, is allowed from now on where ``photographs`` bear it out. Other graphs than these (for engines, say) go.
    Returns the contract as written. Raises :class:`sdk.errors.ParityFailed` and writes nothing where the new graphs do
    not answer, on ``photographs``, as the torch model of these weights and, on the first two in every precision that a
    CPU has, as ``before`` does; :class:`sdk.errors.ArtifactInvalid` where ``target`` is something else, or
    ``before`` has other weights than the network of this version.
    """
    artifact.writable(target)
    frozen = thaw(before)
    files, graphs = _files(frozen)
    half, _ = precision.half_rows(frozen, photographs)
    allowed = _with_fp16(before.contract.precisions, half)
    card = (before.path / "card.md").read_text(encoding="utf-8")
    told = precisions_line(before.contract.precisions)
    if told not in card:
        raise ArtifactInvalid(f"the card of {before.name} has no line {told!r}", remedy="export it anew, with its card")
    files["card.md"] = card.replace(told, precisions_line(allowed)).encode()
    contract = dataclasses.replace(
        before.contract,
        graphs=graphs,
        plan=_plan(frozen, graphs),
        precisions=allowed,
        commit=artifact.commit(),
        sha256=_sha256(files),
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / contract.name
        artifact.write(draft, files, contract)
        rows = [*half, *parity.measure(frozen, draft, photographs)]
        judged = [row for row in rows if row.precision in contract.precisions]
        parity.require(judged)
        parity.require(
            parity.unchanged(before.path, draft, photographs[:2], contract.precisions),
            problem=f"{contract.name} would not answer as before",
            remedy="keep it as it is, or export its checkpoint anew; nothing was written",
        )
    kept = [row for row in contract.parity if row.precision == "weights"]
    contract = dataclasses.replace(contract, parity=(*kept, *rows))
    artifact.write(target, files, contract)
    return contract


def _with_fp16(allowed: tuple[str, ...], half: Sequence[ParityRow]) -> tuple[str, ...]:
    """``allowed``, and fp16 as well where no row about it is over its budget."""
    return allowed if "fp16" in allowed or parity.over_budget(half) else (*allowed, "fp16")


def _files(frozen: Detector) -> tuple[dict[str, bytes], dict[str, Graph]]:
    """Content of every file but the contract, and what the contract says about the graphs."""
    parts = stages(frozen)
    with_operators = whole(parts)
    models = {"whole": inliner.inline_local_functions(with_operators), "ops": with_operators}
    models |= {stage: inliner.inline_local_functions(part) for stage, part in parts.items()}
    weights = SharedWeights()
    names = {"whole": "model.onnx", "ops": "model.ops.onnx"}
    files, graphs = {}, {}
    for graph, content in models.items():
        file = names.get(graph, f"{graph}.onnx")
        files[file] = weights.externalise(content).SerializeToString(deterministic=True)
        graphs[graph] = _graph(content, file, exact=graph in EXACT)
    return {**files, WEIGHTS: bytes(weights)}, graphs


def _graph(model: onnx.ModelProto, file: str, *, exact: bool) -> Graph:
    return Graph(
        file=file,
        inputs=tuple(_tensor(value) for value in model.graph.input),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        exact=exact,
    )


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in kind.shape.dim)
    if shape and isinstance(shape[0], str) and shape[0] != "M":
        shape = ("N", *shape[1:])
    return Tensor(name=value.name, dtype=dtype, shape=shape, meaning=MEANINGS.get(value.name, "features"))


def _contract(frozen: Detector, *, name: str, model: str, card: Card, graphs: dict[str, Graph]) -> Contract:
    return Contract(
        name=name,
        version=card.version,
        model=model,
        settings=frozen.settings,
        status=card.status,
        graphs=graphs,
        plan=_plan(frozen, graphs),
        working_size=card.working_size,
        thresholds={size: Thresholds(**levels) for size, levels in card.thresholds.items()},
        mask_threshold=card.mask_threshold,
        minimum_side=MINIMUM_SIDE,
        minimum_quality=LOWEST_QUALITY,
        precisions=("f32", "bf16"),
        licence=card.licence,
        commercial_use=card.commercial_use,
        training_data=card.training_data,
        citation=frozen.citation,
        commit=artifact.commit(),
        sha256={},
    )


def _plan(frozen: Detector, graphs: dict[str, Graph]) -> tuple[Step, ...]:
    body = _body(frozen, graphs)
    return Step(graph="shrink", when="shrinking"), *body, Step(graph="locate", when="localising")


def _body(frozen: Detector, graphs: dict[str, Graph]) -> tuple[Step, Step]:
    """The steps between pixels and localisation: in tiles or two passes where the network offers that, else whole."""
    reach = getattr(frozen.net, "reach", None)
    if reach is None:
        return Step(graph="local"), Step(graph="rest")
    halo, align = reach
    stride = align // 2
    strides = {tensor.name: stride * 2**index for index, tensor in enumerate(graphs["local"].outputs)}
    height, width, *f32 = (stride * side for side in (*TILE, *TILE_F32))
    tiling = Tiling(halo=halo, align=align, height=height, width=width, extents={"f32": tuple(f32)}, strides=strides)
    if "answer" not in graphs:
        return Step(graph="local", tiling=tiling), Step(graph="rest")
    # Two passes make most of the map twice, halos included, so that large tiles pay in every precision.
    height, width = (min(side, most // stride) for side, most in zip(TILE_F32, WIDEST, strict=True))
    around = Tiling(halo=frozen.net.answer_halo, align=2, height=height, width=width, strides={"f1": 1})
    passes = Passes(maps=("first", "local"), halo=halo, stride=stride)
    return Step(graph="answer", tiling=around, passes=passes), Step(graph="conclude")


def _sha256(files: dict[str, bytes]) -> dict[str, str]:
    return {name: artifact.digest(content) for name, content in sorted(files.items())}
