"""OpenVINO: the fastest on x86 CPUs, with bf16 where the CPU has matrix units for it."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Mapping, Set
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk import forks
from sdk.errors import AnalyzerClosed, BackendUnavailable, MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.artifact import Artifact
    from sdk.backend import Arrays

RANK = 10
CACHED_KERNELS = 256
"""Kernels for shapes met before that a graph keeps, about those of ten sizes. OpenVINO's own 5,000 are gigabytes by
the time an upload service has met hundreds."""
BFLOAT16 = np.dtype("V2")
"""NumPy has no type for it: maps on their way from graph to graph are so many bytes."""
FITTED_FROM = 1 << 20
"""Samples of a map from which a graph is compiled for its very shape: the first frame of it waits for that, and buffers
then follow each other in memory, which for shapes that vary they do not."""
KEPT_UP_TO = 1 << 23
"""Samples of a map up to which buffers are kept for the next frame of its shape."""


def reasons_against(artifact: Artifact, *, device: str) -> list[str]:
    """Why this machine cannot run ``artifact`` on ``device``."""
    if find_spec("openvino") is None:
        return ["openvino is not installed"]
    if device != "cpu":
        return [f"openvino does not run on {device}"]
    try:
        devices = _core().available_devices
    except (MissingExtra, RuntimeError) as error:
        return [str(getattr(error, "problem", error))]
    return [] if "CPU" in devices else ["the installed openvino has no CPU plugin"]


def precisions(device: str) -> tuple[str, ...]:
    """f32, and bf16 where OpenVINO itself lists it (without such units it is slower than f32)."""
    offered = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", "bf16") if "BF16" in offered else ("f32",)


def open(
    artifact: Artifact, graph: str, *, device: str, precision: str, threads: int | None
) -> _Session | _EitherSession:
    """Load ``graph``; the precision is always set, because left alone OpenVINO takes bf16 on CPUs that have it.

    A graph that is run on tiles gets a stream per thread: a tile is too small to share out, and each core's stays in
    its own cache. Any other gets all threads for one run. One that is run in two passes is run both ways.
    """
    core = _core()
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": CACHED_KERNELS,
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    streams = threads or _cores()
    file = artifact.file(graph)
    halved = artifact.contract.handed_on(graph) if precision == "bf16" else set()

    def session(**more: object) -> _Session:
        def compiled(shapes: Mapping[str, tuple[int, ...]] | None = None) -> Any:  # noqa: ANN401
            model = _handing_on(core.read_model(file), halved)
            if shapes:
                model.reshape({name: list(shape) for name, shape in shapes.items()})
            return core.compile_model(model, "CPU", settings | more)

        try:
            return _Session(compiled)
        except RuntimeError as error:
            why = {"openvino": [f"cannot open {graph}: {error}"]}
            raise BackendUnavailable(artifact.name, why, remedy="imdl models verify, then: imdl doctor") from error

    if artifact.contract.is_in_passes(graph):
        return _EitherSession(session(), functools.partial(session, NUM_STREAMS=streams), parallel=streams)
    return session(NUM_STREAMS=streams) if artifact.contract.is_tiled(graph) else session()


def _handing_on(model: Any, names: Set[str]) -> Any:  # noqa: ANN401  the runtime has no types
    """``model`` with the inputs and outputs called ``names`` in bfloat16, to which its operations round them anyway."""
    if not names:
        return model
    bf16, f32 = runtime().Type.bf16, runtime().Type.f32
    steps = import_module("openvino.preprocess").PrePostProcessor(model)
    for name in names & {port.get_any_name() for port in model.inputs}:
        steps.input(name).tensor().set_element_type(bf16)
        steps.input(name).preprocess().convert_element_type(f32).custom(_as_it_is)
    for name in names & {port.get_any_name() for port in model.outputs}:
        steps.output(name).tensor().set_element_type(bf16)
    return steps.build()


def _as_it_is(tensor: Any) -> Any:  # noqa: ANN401  the runtime has no types
    """``tensor``, through an operation that OpenVINO does not see to be none.

    What reads an input in place keeps OpenVINO from using the memory that it sets aside for that input anew, as large
    as the input; after this operation it does use it.
    """
    most = float(np.finfo(np.float32).max)
    return import_module("openvino.opset13").clamp(tensor, -most, most).output(0)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Session:
    """A graph for shapes that vary, and for the last large one that was met: which is used depends on nothing else."""

    def __init__(self, compiled: Callable[..., Any]) -> None:
        self._compiled = compiled
        self._any: _Pool | None = _Pool(compiled(), is_kept=True)
        self._fitted: tuple[Mapping[str, tuple[int, ...]], _Pool] | None = None
        self._lock = threading.Lock()
        # More requests than streams gain no speed and cost the memory of their buffers each.
        self.parallel = self._any.parallel
        self._running = threading.Semaphore(self.parallel)
        forks.outlive(self)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs for ``feeds``, in fresh arrays."""
        with self._running:
            return self.submit(feeds).result()

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> _Pending:
        """Start on ``feeds`` with an idle request, or a new one: who submits twice must not wait for himself."""
        with self._lock:
            if self._any is None:
                raise _closed()
            pool = self._pool(feeds, self._any)
            request = pool.idle.pop() if pool.idle else pool.compiled.create_infer_request()
        # ascontiguousarray would make a vector of a scalar.
        arrays = {name: np.require(array, requirements="C") for name, array in feeds.items()}
        tensors = {name: _tensor(array) if array.dtype == BFLOAT16 else array for name, array in arrays.items()}
        request.start_async(tensors, share_inputs=True)
        return _Pending(self, pool, request, arrays)

    def collect(self, pool: _Pool, request: Any) -> Arrays:  # noqa: ANN401  the runtime has no types
        """Wait for ``request``, copy its outputs and make it idle again."""
        request.wait()
        outputs = {name: _array(request.get_tensor(name)) for name in pool.outputs}
        with self._lock:
            if pool.is_kept and len(pool.idle) < self.parallel:
                pool.idle.append(request)
            if not pool.is_kept and self._fitted and self._fitted[1] is pool:
                self._fitted = None  # the model has the buffers, not its requests
        return outputs

    def close(self) -> None:
        """Drop requests and models; OpenVINO frees them with the last reference."""
        with self._lock:
            for pool in (self._any, self._fitted and self._fitted[1]):
                if pool:
                    pool.drop()
            self._any = self._fitted = None

    def _pool(self, feeds: Mapping[str, NDArray[Any]], fallback: _Pool) -> _Pool:
        """The requests for ``feeds``."""
        samples = _samples(feeds)
        if samples < FITTED_FROM:
            return fallback
        shapes = {name: array.shape for name, array in feeds.items()}
        if self._fitted is None or self._fitted[0] != shapes:
            if self._fitted:
                self._fitted[1].drop()
                self._fitted = None  # what it held is free before more is taken
            self._fitted = shapes, _Pool(self._compiled(shapes), is_kept=samples <= KEPT_UP_TO)
        return self._fitted[1]


class _EitherSession:
    """A graph that has all threads for what is ``run`` in one piece, and a stream per thread for tiles: ``submit``.

    Most frames are small and never tiled: the model for tiles is made for the first.
    """

    def __init__(self, whole: _Session, tiles: Callable[[], _Session], *, parallel: int) -> None:
        self.parallel = parallel
        self.run = whole.run
        self._whole = whole
        self._make_tiles: Callable[[], _Session] | None = tiles
        self._tiles: _Session | None = None
        self._lock = threading.Lock()

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> _Pending:
        """Start on a tile."""
        with self._lock:
            if self._make_tiles is None:
                raise _closed()
            self._tiles = self._tiles or self._make_tiles()
        return self._tiles.submit(feeds)

    def close(self) -> None:
        """Close both."""
        with self._lock:
            self._make_tiles = None
            for session in (self._whole, self._tiles):
                if session:
                    session.close()


def _closed() -> AnalyzerClosed:
    return AnalyzerClosed("the session was closed during an analysis", remedy="close the Analyzer later")


def _tensor(array: NDArray[Any]) -> Any:  # noqa: ANN401  the runtime has no types
    """A tensor over the bytes of ``array``."""
    return runtime().Tensor(array.view(np.uint16), array.shape, runtime().Type.bf16)


def _array(tensor: Any) -> NDArray[Any]:  # noqa: ANN401  the runtime has no types
    """A copy of ``tensor``."""
    copied: NDArray[Any] = tensor.data.copy()
    return copied.view(BFLOAT16) if tensor.element_type == runtime().Type.bf16 else copied


def _samples(feeds: Mapping[str, NDArray[Any]]) -> int:
    """Samples of the largest map of features, ``[N, h, w, C]``."""
    return max((a[..., 0].size for a in feeds.values() if a.ndim == 4 and a.dtype != np.uint8), default=0)


class _Pool:
    """A compiled model and its idle requests, each used by one caller at a time."""

    def __init__(self, compiled: Any, *, is_kept: bool) -> None:  # noqa: ANN401  the runtime has no types
        self.compiled, self.is_kept = compiled, is_kept
        self.outputs = [output.get_any_name() for output in compiled.outputs]
        self.parallel = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.idle: list[Any] = []

    def drop(self) -> None:
        """Let go of idle requests, and of those under way once they are done."""
        self.idle.clear()
        self.is_kept = False


class _Pending:
    """A started request; holds its inputs, which the request reads in place."""

    def __init__(self, session: _Session, pool: _Pool, request: Any, arrays: Arrays) -> None:  # noqa: ANN401
        self._session, self._pool, self._request, self._arrays = session, pool, request, arrays

    def result(self) -> Arrays:
        """Wait for the outputs."""
        return self._session.collect(self._pool, self._request)


_lock = threading.RLock()
"""Held while OpenVINO is imported and its core made: neither may be met half done, by a thread or by a fork."""


def _core() -> Any:  # noqa: ANN401  the runtime has no types
    """The core of this process."""
    with _lock:
        return _core_of(os.getpid())


@functools.cache
def _core_of(process: int) -> Any:  # noqa: ANN401  the runtime has no types
    """One core for the life of ``process``: taking one down waits for threads, among them those lost in a fork."""
    core = runtime().Core()
    forks.never_torn_down(core)
    return core


def _before_fork() -> None:
    """Let OpenVINO end its idle threads while they exist: a core does so when it is made, in a child without end."""
    _lock.acquire()
    if _core_of.cache_info().currsize:
        _ = runtime().Core().available_devices


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603  whoever waits for the parent's lock is not in the child
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def runtime() -> Any:  # noqa: ANN401  the runtime has no types
    """OpenVINO, imported as if openvino-telemetry were not installed: with it, the import alone sends an event."""
    with _lock:
        if sys.modules.get("openvino"):
            return import_module("openvino")  # waits for whoever else may be at it
        telemetry = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("openvino_telemetry")}
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say: cannot be imported
        try:
            return import_module("openvino")
        except Exception as error:  # an installation that is broken raises what it likes
            raise MissingExtra("openvino", extra="cpu", purpose="the backend openvino", why=str(error)) from error
        finally:
            sys.modules.pop("openvino_telemetry", None)
            sys.modules.update(telemetry)
