"""Triton Inference Server: a model repository from an artifact, for a stock server with nothing of ours in it.

    python -m export triton --repo DIR

``DIR/NAME`` runs in the server's ONNX Runtime backend: the whole graph, its working size built in, with all of its
heatmaps. For each engine of the artifact that TensorRT made and the cache keeps, ``DIR/NAME-PRECISION-GPU-NUMBER`` runs
in the TensorRT backend, on such a GPU alone. A model is a folder: ``config.pbtxt``, ``1/`` with the files, and
``MANIFEST.json`` with their digests and the thresholds, since the server gives scores and no verdicts.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from sdk.artifact import Artifact
from sdk.contract import Graph
from sdk.engines import kept, onepiece
from sdk.engines.cache import Cache, Entry
from sdk.engines.shipped import with_graphs
from sdk.errors import ArtifactInvalid, BadSetting

MANIFEST = "MANIFEST.json"
AT_FDCWD, RENAME_EXCHANGE = -100, 2
SCHEMA = "imdl.triton/1"
CONFIG = """\
name: "{name}"
backend: "{backend}"
default_model_filename: "{file}"
max_batch_size: {batch}
input [
  {{ name: "frame" data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] }}
]
output [
  {{ name: "score" data_type: TYPE_FP32 dims: [ 1 ] reshape: {{ shape: [ ] }} }},
  {{ name: "heatmap" data_type: TYPE_FP32 dims: [ {height}, {width} ] }}
]
dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}
model_warmup [
{warmups}
]
"""
WARMUP = """\
  {{
    name: "{batch} of {height}x{width}"
    batch_size: {batch}
    inputs {{ key: "frame" value {{ data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] random_data: true }} }}
  }}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """How the server runs the models."""

    batch: int = 8
    """Frames of one size that are run together at most."""
    delay_us: int = 5000
    """How long a frame waits for others of its size, microseconds."""
    warmup: tuple[int, int] = (512, 512)
    """Height and width of the frames that are run before the server is ready, px."""

    def __post_init__(self) -> None:
        if min(self.batch, *self.warmup) < 1 or self.delay_us < 0:
            raise BadSetting(f"a server cannot run {self}", remedy="give a batch and sides of 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Model:
    """One folder of the repository."""

    backend: str
    files: Mapping[str, bytes]
    """The model's own file first."""
    serving: Serving
    sides: tuple[int, int]
    """Height and width of its frames, px; -1 where they vary."""
    facts: Mapping[str, object]


def export(
    artifact: Artifact,
    repository: Path,
    *,
    working_size: int | None = None,
    serving: Serving | None = None,
    cache: Cache | None = None,
) -> list[Path]:
    """Write the models of ``artifact`` into ``repository``; their folders. What was written there of it before goes.

    ``working_size`` is built in: None is the artifact's default, 0 the frame's own.
    """
    serving = serving or Serving()
    size = artifact.contract.working_size if working_size is None else working_size
    models = {artifact.contract.name: _portable(artifact, serving, working_size=size)}
    for number, entry in enumerate(plans(artifact, cache or Cache())):
        key = entry.key
        models[f"{artifact.contract.name}-{key.precision}-{key.target}-{number}"] = _compiled(entry, serving)
    repository.mkdir(parents=True, exist_ok=True)
    # Beside the repository, since a server that polls takes every folder in it for a model; on its file system, though.
    place = repository.resolve()
    with tempfile.TemporaryDirectory(prefix=".imdl-", dir=place if place.is_mount() else place.parent) as beside:
        written = [_write(repository / name, model, artifact, Path(beside)) for name, model in models.items()]
        for folder in _former(repository, artifact.contract.name):
            if folder.name not in models:
                folder.replace(Path(beside) / f"former-{folder.name}")
    return written


def baked(artifact: Artifact, *, working_size: int) -> bytes:
    """The whole graph of ``artifact`` with ``frame`` as its only input, and a heatmap for every frame."""
    graph = _whole(artifact)
    model = onnx.load(artifact.path / graph.file, load_external_data=False)
    values = {"working_size": np.array(working_size, np.int64), "min_score": np.array(0.0, np.float32)}
    inputs = [each for each in model.graph.input if each.name not in values]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    for output in model.graph.output:
        if output.name == "heatmap":  # each score reaches 0, so its rows are those of the frames
            output.type.tensor_type.shape.dim[0].dim_param = "N"
    return model.SerializeToString(deterministic=True)


def plans(artifact: Artifact, cache: Cache) -> list[Entry]:
    """Engines that TensorRT made of ``artifact`` for frames at their own size; others need a second input.

    None with plugins: a stock server has no library of ours.
    """
    artifact = with_graphs(artifact)
    graphs = artifact.contract.graphs
    sources = {
        precision: kept.source(artifact, name)
        for precision in ("f32", "fp16")
        if (name := onepiece.named("native", precision)) in graphs
    }
    kind = ("tensorrt", "native", "")
    made = [one for one in cache.entries() if (one.key.module, one.key.graph, one.key.plugins) == kind]
    fitting = [entry for entry in made if sources.get(entry.key.precision) == entry.key.source]
    return sorted(fitting, key=lambda entry: entry.key.digest)


def _whole(artifact: Artifact) -> Graph:
    graph = artifact.contract.graphs.get("whole")
    if graph is None or {tensor.name for tensor in graph.inputs} != {"frame", "working_size", "min_score"}:
        raise ArtifactInvalid(
            f"{artifact.name} has no graph from the frame to the answer", remedy="export the model again"
        )
    return graph


def _weights(artifact: Artifact) -> dict[str, bytes]:
    """The files that the whole graph refers to, by name."""
    model = onnx.load(artifact.path / _whole(artifact).file, load_external_data=False)
    places = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    names = sorted({entry.value for entry in places if entry.key == "location"})
    return {name: (artifact.path / name).read_bytes() for name in names}


def _portable(artifact: Artifact, serving: Serving, *, working_size: int) -> _Model:
    """For ONNX Runtime, on whatever the server runs it."""
    files = {"model.onnx": baked(artifact, working_size=working_size), **_weights(artifact)}
    facts = {"working_size": working_size, "precision": "f32"}
    return _Model(backend="onnxruntime", files=files, serving=serving, sides=(-1, -1), facts=facts)


def _compiled(entry: Entry, serving: Serving) -> _Model:
    """For TensorRT, on the kind of GPU that the engine was made on."""
    key, profile = entry.key, entry.key.profile
    serving = dataclasses.replace(serving, batch=min(serving.batch, profile.batch), warmup=profile.usual)
    facts = {"working_size": 0, "precision": key.precision, "target": key.target, "tensorrt": key.version}
    return _Model(
        backend="tensorrt",
        files={"model.plan": entry.read()},
        serving=serving,
        sides=profile.usual if profile.is_fixed else (-1, -1),
        facts={**facts, "frames": profile.text()},
    )


def _config(name: str, model: _Model) -> str:
    """The text of ``config.pbtxt``."""
    (height, width), serving = model.sides, model.serving
    sides = {"height": serving.warmup[0], "width": serving.warmup[1]}
    return CONFIG.format(
        name=name,
        backend=model.backend,
        file=next(iter(model.files)),
        batch=serving.batch,
        height=height,
        width=width,
        delay_us=serving.delay_us,
        warmups=",\n".join(WARMUP.format(batch=batch, **sides) for batch in sorted({1, serving.batch})),
    )


def _former(repository: Path, name: str) -> list[Path]:
    """Folders in ``repository`` that hold a model of the artifact ``name``, by their manifests."""
    found = []
    for file in repository.glob(f"*/{MANIFEST}"):
        try:
            told = json.loads(file.read_bytes())
            is_ours = (told["schema"], told["artifact"]["name"]) == (SCHEMA, name)
        except (KeyError, TypeError, ValueError):  # another program's
            continue
        if is_ours:
            found.append(file.parent)
    return found


def _write(folder: Path, model: _Model, artifact: Artifact, beside: Path) -> Path:
    """Write a model in ``beside``, then put it in its place: a server that polls never sees half of one, nor none."""
    files = {"config.pbtxt": _config(folder.name, model).encode()}
    files |= {f"1/{name}": content for name, content in model.files.items()}
    terms = artifact.contract
    levels = terms.at(int(str(model.facts["working_size"])))
    manifest = {
        "schema": SCHEMA,
        "artifact": {"name": terms.name, "version": terms.version, "sha256": artifact.digest, "status": terms.status},
        "licence": terms.licence,
        "commercial_use": terms.commercial_use,
        "thresholds": dict(levels.photographs) if levels else {},
        "mask_threshold": terms.mask_threshold,
        **model.facts,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    files[MANIFEST] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    partial = beside / folder.name
    (partial / "1").mkdir(parents=True)
    for name, content in files.items():
        (partial / name).write_bytes(content)
    if folder.exists() and not _exchanged(partial, folder):
        folder.replace(beside / f"former-{folder.name}")
    if partial.exists() and not folder.exists():
        partial.replace(folder)
    return folder


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system has none for it."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    return bool(rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)
