"""The plan of backends that run engines: one graph from the frame to the answer, nothing in between on the host."""

from __future__ import annotations

import dataclasses

from sdk.contract import Contract, Graph, Step, Tensor

FRAME = Tensor(name="frame", dtype="uint8", shape=("N", "H", "W", 3), meaning="RGB photograph, 0..255")
WORKING_SIZE = Tensor(
    name="working_size", dtype="int64", shape=(), meaning="long side to shrink to, px; 0 or above the long side: as is"
)
SCORE = Tensor(
    name="score", dtype="float32", shape=("N",), meaning="probability that the frame was manipulated anywhere, [0, 1]"
)
HEATMAP = Tensor(
    name="heatmap", dtype="float32", shape=("N", "H", "W"), meaning="probability that a pixel was manipulated, [0, 1]"
)
NATIVE = Graph(file="native.onnx", inputs=(FRAME,), outputs=(SCORE, HEATMAP))
SHRUNK = Graph(file="shrunk.onnx", inputs=(FRAME, WORKING_SIZE), outputs=(SCORE, HEATMAP))
GRAPHS = {"native": NATIVE, "shrunk": SHRUNK}
"""Two, because bringing a frame down to its own size costs as much as bringing it down to another."""


def named(graph: str, precision: str, *, plugins: bool = False) -> str:
    """The contract's name for ``graph`` in ``precision``: an engine's arithmetic is that of the graph as written.

    With ``plugins`` it is the one in which operators of ours are nodes, and not their bodies.
    """
    return ".".join([graph, *([] if precision == "f32" else [precision]), *(["plugins"] if plugins else [])])


def in_one_piece(contract: Contract) -> Contract:
    """``contract`` as a backend with engines executes it; what the model was shown to be good for does not change."""
    plan = (Step(graph="shrunk", when="shrinking"), Step(graph="native", when="native"))
    # Thin frames are run as they are: there is one precision per engine, and no other to fall back to.
    return dataclasses.replace(contract, graphs={**contract.graphs, **GRAPHS}, plan=plan, minimum_side=1)


def is_in_one_piece(contract: Contract) -> bool:
    """Whether nothing but graphs from the frame to the answer is run, so that a frame may stay on the GPU."""
    return all(step.graph in GRAPHS for step in contract.plan)
