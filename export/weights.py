"""One file of fp16 weights, shared by every graph of an artifact and widened when a graph is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sdk.errors import ArtifactInvalid

FILE = "weights.bin"
ALIGNMENT = 64
"""Bytes; lets a runtime map the file and use the numbers in place."""
SMALLEST = 8
"""Constants of fewer elements stay in the graph: they are shapes and scalars, not weights."""


class SharedWeights:
    """Collects weights by content: what two graphs have in common is stored once."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._places: dict[str, int] = {}

    @classmethod
    def of(cls, folder: Path, graphs: Iterable[str]) -> SharedWeights:
        """Those in ``folder``, to which more can be added: what ``graphs`` (files) refer to keeps its place."""
        weights = cls()
        weights._content.extend((folder / FILE).read_bytes())
        for graph in graphs:
            for tensor in onnx.load(folder / graph, load_external_data=False).graph.initializer:
                entry = {item.key: item.value for item in tensor.external_data}
                if entry:
                    offset, length = int(entry["offset"]), int(entry["length"])
                    content = bytes(weights._content[offset : offset + length])
                    weights._places[hashlib.sha256(content).hexdigest()] = offset
        return weights

    def __bytes__(self) -> bytes:
        return bytes(self._content)

    def externalise(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Move the float weights of ``model`` out: an external fp16 initialiser and a Cast take each one's place.

        Every weight has to be an fp16 value already (:func:`export.freeze.freeze`), so nothing is lost.
        """
        kept, moved, casts = [], [], []
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if tensor.data_type == TensorProto.FLOAT16 and values.size >= SMALLEST:  # a graph that computes in fp16
                moved.append(self._external(tensor.name, values))
                continue
            if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST:
                kept.append(tensor)
                continue
            if not np.array_equal(values, values.astype(np.float16)):
                raise ArtifactInvalid(f"{tensor.name} would lose precision as fp16", remedy="freeze the detector first")
            stored = f"{tensor.name}.fp16"
            moved.append(self._external(stored, values.astype(np.float16)))
            casts.append(
                helper.make_node("Cast", [stored], [tensor.name], name=f"widen/{tensor.name}", to=TensorProto.FLOAT)
            )
        nodes = [*casts, *model.graph.node]
        del model.graph.initializer[:], model.graph.node[:]
        model.graph.initializer.extend([*kept, *moved])
        model.graph.node.extend(nodes)
        return model

    def _external(self, name: str, values: np.ndarray) -> TensorProto:
        content = values.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._places:
            self._content.extend(b"\0" * (-len(self._content) % ALIGNMENT))
            self._places[digest] = len(self._content)
            self._content.extend(content)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=values.shape)
        tensor.data_location = TensorProto.EXTERNAL
        places = {"location": FILE, "offset": self._places[digest], "length": len(content)}
        for key, value in places.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor
