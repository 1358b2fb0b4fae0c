"""What an artifact promises: its tensors, its plan, its thresholds, its model; to and from JSON.

The reader owns the schema: the exporter imports this module and writes what it describes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sdk.errors import ArtifactInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA_VERSION = 3
"""Raised by every change that an older reader would misunderstand."""

FILE = "contract.json"
"""Name of the contract inside an artifact."""

_REMEDY = "export the model again with this version of imdl-sdk, or install the version that the artifact was made for"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One named tensor that goes into or comes out of a graph."""

    name: str
    dtype: str
    """NumPy's name of the type: uint8, int64, float32."""
    shape: tuple[int | str, ...]
    """Extents in order; a name stands for one that varies, ``()`` is a scalar."""
    meaning: str
    """What it holds, with its unit and range."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """One ONNX file of the artifact."""

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    exact: bool = False
    """Run in f32 whatever the precision asked for: averages of pixels that bf16 would round to a grey level."""

    def typed(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """``feeds`` in the types of the inputs; what a session made in a type of its own stays as it is."""
        dtypes = {tensor.name: tensor.dtype for tensor in self.inputs}
        return {
            name: array if array.dtype.kind == "V" else array.astype(dtypes[name], copy=False)
            for name, array in feeds.items()
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """How a graph of local operations is run piece by piece with the same result as in one piece."""

    halo: int
    """Pixels of the input needed around a tile, on each side that is not a side of the frame."""
    align: int
    """Tile origins are multiples of this many pixels."""
    height: int
    """Preferred height of a tile without its halo, px."""
    width: int
    """Preferred width of a tile without its halo, px."""
    extents: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Preferred height and width in precisions for which others are faster than ``height`` and ``width``.

    In bf16 memory is what limits, and tiles that stay in a core's cache pay; in f32 it is arithmetic, and halos cost.
    """
    strides: Mapping[str, int]
    """Input pixels per pixel of each output; an output of stride s has ceil(H / s) rows."""

    def __post_init__(self) -> None:
        sides = (self.height, self.width, *itertools.chain(*self.extents.values()))
        if self.halo < 0 or min(self.align, *sides, *self.strides.values()) < 1:
            raise ArtifactInvalid(f"a tiling has a negative halo or an empty extent: {self}", remedy=_REMEDY)
        if any(self.align % stride for stride in self.strides.values()):
            raise ArtifactInvalid(
                f"tiles aligned to {self.align} px do not fall on the outputs' grids {dict(self.strides)}",
                remedy="let every stride divide align",
            )

    def at(self, precision: str) -> Tiling:
        """This tiling with the extent that is preferred in ``precision``."""
        height, width = self.extents.get(precision, (self.height, self.width))
        return dataclasses.replace(self, height=height, width=width)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Passes:
    """How a graph is run that is local but for the frame's mean and variance of every channel: in two passes."""

    maps: tuple[str, ...]
    """Graphs from ``pixels`` to the one map that is read, each from the one before; only local operations."""
    halo: int
    """Pixels that they need around a tile; the step's own tiling is of the map, with what its graph needs of that."""
    stride: int = 1
    """Pixels per pixel of the map, which has ceil(H / stride) rows."""

    def __post_init__(self) -> None:
        if self.halo < 0 or self.stride < 1:
            raise ArtifactInvalid(f"two passes have a negative halo or a stride below 1: {self}", remedy=_REMEDY)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One graph of the plan and when it is run."""

    graph: str
    when: Literal["always", "shrinking", "native", "localising"] = "always"
    """``shrinking``: working size below the frame's long side; ``native``: not so; ``localising``: the score reached
    ``min_score``."""
    tiling: Tiling | None = None
    passes: Passes | None = None
    """Whether ``mean`` and ``variance`` of the map have to be known first."""

    @property
    def graphs(self) -> tuple[str, ...]:
        """Every graph that is run in this step."""
        return (*self.passes.maps, self.graph) if self.passes else (self.graph,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ParityRow:
    """How far one run of the artifact was from the torch model on one real photograph."""

    case: str
    backend: str
    precision: str
    size: tuple[int, int]
    """Height and width of the frame, px."""
    max_abs_heatmap: float
    max_abs_score: float
    budget: float
    """Largest difference that the export gate accepts."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Scores that authentic frames reach at one working size, by the share of them that does: "0.01", "0.05"."""

    photographs: Mapping[str, float]
    """Of photographs; both shares are named."""
    video: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Of frames of video, whose codec moves scores: both shares, or none where none were measured."""

    def __post_init__(self) -> None:
        lost = sorted({"0.01", "0.05"} - (set(self.photographs) & set(self.video or self.photographs)))
        if lost:
            raise ArtifactInvalid(f"score thresholds are missing for the rates {lost}", remedy=_REMEDY)
        levels = (*self.photographs.values(), *self.video.values())
        if not all(0.0 <= level <= 1.0 for level in levels):
            raise ArtifactInvalid(f"score thresholds lie outside [0, 1]: {self}", remedy=_REMEDY)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """Everything the SDK has to know about an artifact."""

    schema_version: int = SCHEMA_VERSION
    name: str
    """Name under which the artifact is loaded, for instance ``psccnet-lite``."""
    version: str
    model: str
    """Name of the model's definition."""
    settings: Mapping[str, str | int | float | bool]
    """The fields of the model's configuration."""
    status: Literal["preview", "release"]
    graphs: Mapping[str, Graph]
    plan: tuple[Step, ...]
    working_size: int
    """Default long side at which a frame is analysed, px; 0 is the frame's own size."""
    thresholds: Mapping[str, Thresholds]
    """By the working sizes at which accuracy was measured, px; only for these is a verdict given: see :meth:`at`."""
    mask_threshold: float
    """Heatmap level from which a pixel belongs to the mask, in [0, 1]."""
    minimum_side: int
    """Short side below which nothing was measured, px."""
    precisions: tuple[str, ...]
    """Precisions in which the model keeps its accuracy: "f32", "bf16", "fp16"; a backend offers some of them."""
    licence: str
    commercial_use: bool
    training_data: str
    citation: str
    commit: str
    """The project's commit that wrote the artifact."""
    sha256: Mapping[str, str]
    """Digest of every other file of the artifact, in hexadecimal."""
    parity: tuple[ParityRow, ...] = ()
    minimum_quality: int = 55
    """JPEG quality below which no whole picture was compressed in training; 55 was so before contracts told it."""

    def __post_init__(self) -> None:
        missing = sorted(self.planned - set(self.graphs))
        if missing:
            raise ArtifactInvalid(f"the plan of {self.name} runs graphs it does not have: {missing}", remedy=_REMEDY)
        if not 0.0 <= self.mask_threshold <= 1.0:
            raise ArtifactInvalid(f"mask_threshold {self.mask_threshold} lies outside [0, 1]", remedy=_REMEDY)
        strange = [size for size in self.thresholds if not size.isdecimal()]
        if strange:
            raise ArtifactInvalid(f"thresholds have keys that are no working sizes: {strange}", remedy=_REMEDY)

    @property
    def planned(self) -> set[str]:
        """Every graph that the plan runs."""
        return {graph for step in self.plan for graph in step.graphs}

    @property
    def working_sizes(self) -> tuple[int, ...]:
        """Those whose accuracy was measured, px; 0 is the frame's own size."""
        return tuple(map(int, self.thresholds))

    def at(self, working_size: int) -> Thresholds | None:
        """The thresholds for verdicts at ``working_size`` px; None where nothing was measured."""
        return self.thresholds.get(str(working_size))

    def is_tiled(self, graph: str) -> bool:
        """Whether the plan runs ``graph`` on tiles."""
        return any(step.tiling for step in self.plan if graph in step.graphs)

    def is_in_passes(self, graph: str) -> bool:
        """Whether the plan runs ``graph`` in two passes: a small frame in one piece, a large one on tiles."""
        return any(step.passes for step in self.plan if graph in step.graphs)

    def handed_on(self, graph: str) -> set[str]:
        """Inputs and outputs of ``graph`` that a graph run on tiles makes and other graphs alone read.

        A session may keep them in a type of its own, for as large as the frame they are what takes the memory. What is
        read between two passes, or in f32 whatever the precision, is not among them.
        """
        named = {name: self.graphs[name] for name in self.planned}
        made = {
            tensor.name
            for step in self.plan
            if step.tiling and not step.passes and not named[step.graph].exact
            for tensor in named[step.graph].outputs
        }
        own = {tensor.name for tensor in (*self.graphs[graph].inputs, *self.graphs[graph].outputs)}
        read = {tensor.name for each in named.values() if not each.exact for tensor in each.inputs}
        exact = {tensor.name for each in named.values() if each.exact for tensor in each.inputs}
        return made & own & read - exact

    def to_json(self) -> str:
        """The contract as text, stable from run to run."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read what :meth:`to_json` wrote; an unknown or missing key or a wrong type is an error."""
        return versioned(cls, text, where="contract", version=SCHEMA_VERSION)


def versioned(kind: type[T], text: str, *, where: str, version: int, remedy: str = _REMEDY) -> T:
    """A dataclass from the JSON ``text`` of a file with a ``schema_version``; ``where`` names the file in errors."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactInvalid(f"{where} is not JSON: {error}", remedy=remedy) from error
    found = fields.get("schema_version") if isinstance(fields, dict) else None
    if found != version:
        raise ArtifactInvalid(f"{where} has schema version {found!r}, this imdl-sdk reads {version}", remedy=remedy)
    return record(kind, fields, where)


def record(kind: type[T], value: object, where: str) -> T:
    """A dataclass from a JSON object with exactly its fields, ``where`` naming it in errors."""
    if not isinstance(value, dict):
        raise _mismatch(where, "an object", value)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast("type[Any]", kind))}
    unknown = sorted(set(value) - set(fields))
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(value))
    if unknown or missing:
        raise ArtifactInvalid(f"{where} has unknown keys {unknown} and lacks {missing}", remedy=_REMEDY)
    items = {name: _value(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    return typing.cast("type[Any]", kind)(**items)  # type: ignore[no-any-return]


def _value(kind: object, value: object, where: str) -> object:
    """``value`` as the annotation ``kind`` says; nothing is converted but lists to tuples and int to float."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _items(args, value, where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _mismatch(where, "an object", value)
        return {key: _value(args[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    for alternative in args if origin is types.UnionType else (kind,):
        if dataclasses.is_dataclass(alternative) and value is not None:
            return record(typing.cast("type[object]", alternative), value, where)
        if type(value) is alternative or (origin is Literal and value in args):  # type(): True must not pass for 1
            return value
    if kind is float and type(value) is int:
        return float(value)
    raise _mismatch(where, kind.__name__ if isinstance(kind, type) else str(kind), value)


def _items(kinds: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    """A tuple from a JSON list, of any length (``tuple[X, ...]``) or of the annotation's."""
    if not isinstance(value, list):
        raise _mismatch(where, "a list", value)
    if kinds[-1:] == (Ellipsis,):
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _mismatch(where, f"a list of {len(kinds)}", value)
    return tuple(_value(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _mismatch(where: str, wanted: str, value: object) -> ArtifactInvalid:
    return ArtifactInvalid(f"{where} must be {wanted}, got {value!r:.80}", remedy=_REMEDY)
