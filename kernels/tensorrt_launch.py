"""What ahead-of-time plugins for TensorRT have in common: each is one launch of a kernel compiled before.

An operator's ``tensorrt_plugin.py`` says, for what is known when an engine is built, which kernel is launched, how, and
what it writes. Sizes may be expressions there, of sizes that a frame has when it comes: they go left of the operators
``+ - * //``, other numbers right of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, Signature
from typing import Any

NAMESPACE = "forensics"
"""Of all plugins; nodes name it in their attribute ``plugin_namespace``."""
TYPES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}
"""TensorRT's names of the types that there are kernels for."""
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
SHARED_BYTES = 48 << 10
"""Shared memory that every GPU gives a block; for more a launch has to ask, and TensorRT's cannot be told to."""


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor, as far as it is known when an engine is built."""

    shape: tuple[Any, ...]
    precision: str
    """A key of :data:`TYPES`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """One launch. The kernel takes addresses of the inputs, ``arguments``, and addresses of ``outputs``."""

    kernel: str
    grid: tuple[Any, ...]
    """Blocks along x, y and z; the last two may be left out."""
    block: int
    """Threads of each."""
    shared: Any = 0
    """Bytes of dynamic shared memory."""
    arguments: tuple[Any, ...] = ()
    """32-bit integers."""
    outputs: tuple[Array, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """What TensorRT knows by a name."""

    name: str
    inputs: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Type of each attribute."""
    outputs: int = 1
    launch: Callable[..., Launch]
    """Of an :class:`Array` for each input, and of the settings by their names."""


def register(plugins: Iterable[Plugin], code: bytes, *, lazily: bool = False) -> None:
    """Register plugins with TensorRT, with ``code`` of their kernels for the GPU that engines are built for.

    ``lazily`` leaves out TensorRT's own registry, which the parser looks into. Once in a process.
    """
    module: Any = import_module("tensorrt.plugin")
    answer = tuple[str | bytes, str | bytes, module.KernelLaunchParams, module.SymIntExprs]
    for plugin in plugins:
        name = f"{NAMESPACE}::{plugin.name}"
        several: Any = tuple.__class_getitem__((module.TensorDesc,) * plugin.outputs)
        inputs = {**dict.fromkeys(plugin.inputs, module.TensorDesc), **plugin.settings}
        described = _signed(_describe(plugin, module), inputs, several)
        module.register(name, lazy_register=lazily)(described)
        launched = _signed(_launch(plugin, module, code), {**inputs, "outputs": several, "tactic": int}, answer)
        module.aot_impl(name)(launched)


def _describe(plugin: Plugin, module: Any) -> Callable[..., Any]:  # noqa: ANN401  TensorRT has no types here
    def describe(*tensors: Any, **settings: Any) -> Any:  # noqa: ANN401
        types = import_module("tensorrt").DataType
        outputs = plugin.launch(*map(_array, tensors), **settings).outputs
        return tuple(module.from_shape_expr(each.shape, getattr(types, TYPES[each.precision])) for each in outputs)

    return describe


def _launch(plugin: Plugin, module: Any, code: bytes) -> Callable[..., Any]:  # noqa: ANN401
    def launch(*given: Any) -> Any:  # noqa: ANN401
        *inputs, _, _ = given  # the outputs, and a tactic, of which there is one
        tensors, values = inputs[: len(plugin.inputs)], inputs[len(plugin.inputs) :]
        settings = dict(zip(plugin.settings, values, strict=True))
        return answered(module, code, plugin.launch(*map(_array, tensors), **settings))

    return launch


def _signed(function: Callable[..., Any], parameters: Mapping[str, Any], answer: Any) -> Callable[..., Any]:  # noqa: ANN401
    """``function`` with the signature by which TensorRT learns names and types."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    named = [Parameter(name, kind, annotation=known) for name, known in parameters.items()]
    vars(function)["__signature__"] = Signature(named, return_annotation=answer)
    return function


def answered(module: Any, code: bytes, launch: Launch) -> tuple[str, bytes, Any, Any]:  # noqa: ANN401
    """A launch in TensorRT's words; ``module`` is ``tensorrt.plugin``."""
    parameters = module.KernelLaunchParams()
    for axis, blocks in zip("xyz", launch.grid, strict=False):
        setattr(parameters, f"grid_{axis}", blocks)
    parameters.block_x, parameters.shared_mem = launch.block, launch.shared
    extra = module.SymIntExprs(len(launch.arguments))
    for place, number in enumerate(launch.arguments):
        extra[place] = module.SymInt32(number)
    return launch.kernel, code, parameters, extra


def _array(described: Any) -> Array:  # noqa: ANN401
    precision = {name: known for known, name in TYPES.items()}[described.dtype.name]
    return Array(tuple(described.shape_expr), precision)
