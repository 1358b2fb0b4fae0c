"""TensorRT and TensorRT-RTX: one API, told apart by what is in it. Finds the package, and builds engines with it.

Networks are strongly typed: the arithmetic is that of the graph as written, there are no precision flags.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernels import library as native
from sdk.artifact import digest
from sdk.engines.profile import Profile
from sdk.errors import DeviceUnavailable, MissingExtra

PACKAGES = ("tensorrt", "tensorrt_rtx")
"""In order of preference: the first has plugins and serves every GPU of a data centre."""
Progress = Callable[[str, int, int], None]
"""Called with the phase, the steps done and all steps."""
Declare = Callable[[Any, Any, Profile], None]
"""Called with the package's optimisation profile, an input of the network, and ours."""
_logger = logging.getLogger("imdl.tensorrt")
_registering = threading.Lock()


@dataclasses.dataclass(frozen=True, slots=True)
class Library:
    """One installed package, and what it can do."""

    module: Any
    name: str
    version: str

    @property
    def targets(self) -> frozenset[str] | None:
        """GPUs that it compiles for, as ``sm_86``; None where it takes the one that is there."""
        kinds = getattr(self.module, "ComputeCapability", None)
        if kinds is None:
            return None
        return frozenset(f"sm_{name[2:]}" for name in kinds.__members__ if name.startswith("SM"))

    @property
    def has_plugins(self) -> bool:
        """Whether engines can hold operators that are not its own."""
        return hasattr(self.module.INetworkDefinition, "add_plugin_v3")

    @property
    def has_runtime_cache(self) -> bool:
        """Whether kernels are made at the first run, and can be kept."""
        return hasattr(self.module, "IRuntimeCache")

    def logger(self) -> Any:  # noqa: ANN401  the package has no types
        """A logger that hands on to Python's."""
        levels = {"VERBOSE": 10, "INFO": 10, "WARNING": 10, "ERROR": 30, "INTERNAL_ERROR": 40}

        class Logger(self.module.ILogger):  # type: ignore[misc, name-defined]
            def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
                _logger.log(levels.get(str(severity).rpartition(".")[2], 10), "%s", message)

        return Logger()


_registered: dict[Library, str] = {}
"""SHA-256 of the plugins that are in a package's own registry, which is as much this process's."""


def installed() -> list[str]:
    """Names of the packages that are there."""
    return [name for name in PACKAGES if find_spec(name) is not None]


def load(target: str | None) -> Library:
    """The package for GPUs of ``target``, or whichever there is; imported here and not before."""
    refused = []
    for name in installed():
        try:
            module = import_module(name)
        except Exception as error:  # a library that it needs is missing
            raise MissingExtra(name, extra="gpu", purpose="the backend tensorrt", why=str(error)) from error
        library = Library(module, name, str(module.__version__))
        if target is None or library.targets is None or target in library.targets:
            return library
        refused.append(f"{name} {library.version} does not compile for {target}")
    if refused:
        raise DeviceUnavailable("; ".join(refused), remedy="pip install 'imdl-sdk[gpu]'")
    raise MissingExtra("tensorrt", extra="gpu", purpose="the backend tensorrt")


def plugins(library: Library) -> str:
    """SHA-256 of the library of plugins; ``library`` loads it the first time, and this process keeps that one.

    Raises :class:`sdk.errors.DeviceUnavailable` where there is none, or it does not load.
    """
    if library not in _registered:  # once it is loaded it is asked for without a lock that a fork could freeze
        with _registering:
            if library not in _registered:
                _registered[library] = _register(library)
    return _registered[library]


def _register(library: Library) -> str:
    without = 'backend="tensorrt" needs none'
    if not library.has_plugins:
        raise DeviceUnavailable(f"{library.name} {library.version} takes no plugins", remedy=without)
    file = native.plugins()
    if file is None:
        how = "python -m kernels tensorrt ROOT builds it in a checkout"
        raise DeviceUnavailable(f"there is no library of plugins for TensorRT: {how}", remedy=f"build it; {without}")
    found, registry = digest(file), library.module.get_plugin_registry()
    if registry.load_library(str(file)) is None:
        how = "python -m kernels tensorrt ROOT, with the headers of this version"
        problem = f"{library.name} {library.version} does not load {file.name}: {how}"
        raise DeviceUnavailable(problem, remedy=f"build it again; {without}")
    return found


def build(
    library: Library,
    file: Path,
    profile: Profile,
    *,
    target: str | None = None,
    progress: Progress | None = None,
    timings: bytes = b"",
    declare: Declare | None = None,
) -> tuple[bytes, bytes]:
    """The engine of the ONNX graph in ``file`` for the frames of ``profile``, and what was learned about timings.

    ``target`` names a GPU that need not be here, for packages that can do that; None is the one that is here.
    ``declare`` gives the extents of one input to the package, for graphs that take something else than frames.
    """
    module, logger = library.module, library.logger()
    builder = module.Builder(logger)
    network = builder.create_network(_flags(module))
    parser = module.OnnxParser(network, logger)
    if not parser.parse_from_file(str(file)):
        said = "; ".join(_sentence(parser.get_error(index)) for index in range(parser.num_errors))
        remedy = "export the model again; where a plugin was not found, build the library of plugins again"
        raise DeviceUnavailable(f"{library.name} cannot read {file.name}: {said}", remedy=remedy)
    config = builder.create_builder_config()
    if hasattr(module.BuilderFlag, "TF32"):
        config.clear_flag(module.BuilderFlag.TF32)  # 10 bits of mantissa, which nobody asked for
    if target is not None and library.targets is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(module.ComputeCapability, target.replace("sm_", "SM")), 0)
    shapes = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        (declare or frames)(shapes, network.get_input(index), profile)
    config.add_optimization_profile(shapes)
    cache = config.create_timing_cache(timings)
    if cache is not None:
        config.set_timing_cache(cache, ignore_mismatch=True)
    if progress is not None:
        config.progress_monitor = _monitor(module, progress)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DeviceUnavailable(
            f"{library.name} {library.version} cannot build {file.name} for {profile.text()}",
            remedy="its reasons are in the log of imdl.tensorrt; try a narrower range of frames",
        )
    return bytes(plan), b"" if cache is None else bytes(cache.serialize())


def _flags(module: Any) -> int:  # noqa: ANN401
    """Strongly typed where that can be asked for; where it cannot, every network is."""
    flags = module.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0


def frames(shapes: Any, tensor: Any, profile: Profile) -> None:  # noqa: ANN401
    """Extents of a frame; of a scalar that decides shapes, the values."""
    if len(tensor.shape) == 4:
        sides = (profile.smallest, profile.usual, profile.largest)
        low, usual, high = ((batch, *hw, 3) for batch, hw in zip((1, 1, profile.batch), sides, strict=True))
        shapes.set_shape(tensor.name, low, usual, high)
    else:
        longest = max(profile.largest)
        shapes.set_shape_input(tensor.name, [1], [min(512, longest)], [longest])


def _monitor(module: Any, progress: Progress) -> Any:  # noqa: ANN401
    """The package's own interface for progress."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = steps
            progress(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            progress(phase, step + 1, self._steps[phase])
            return True

        def phase_finish(self, phase: str) -> None:
            steps = self._steps.pop(phase)
            progress(phase, steps, steps)

    return Monitor()


def _sentence(error: Any) -> str:  # noqa: ANN401
    node = f"{error.node_operator()} {error.node_name()}".strip()
    return f"{node or 'the graph'}: {' '.join(error.desc().split())}"
