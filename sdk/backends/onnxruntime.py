"""ONNX Runtime: the reference on every CPU, and the way to CUDA where its GPU build is installed."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from kernels import cuda_library, library
from sdk import forks
from sdk.engines import bound, gpu, onepiece
from sdk.errors import AnalyzerClosed, DeviceUnavailable, MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sdk.artifact import Artifact
    from sdk.backend import Arrays, Pending, Session
    from sdk.contract import Contract

RANK = 20

SILENCE = "ORT_DISABLE_TELEMETRY"

_runtime: Any = None
_importing = threading.Lock()

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def reasons_against(artifact: Artifact, *, device: str) -> list[str]:
    """Why this machine cannot run ``artifact`` on ``device``; for CUDA a graph is opened, since only that is proof."""
    if find_spec("onnxruntime") is None:
        return ["onnxruntime is not installed"]
    if device == "cuda" and not gpu.count():
        return ["no NVIDIA driver with a GPU was found"]
    try:
        if _PROVIDERS[device] not in runtime().get_available_providers():
            return ["the installed onnxruntime has no CUDA provider; onnxruntime-gpu has"]
        if device == "cuda":
            open(artifact, artifact.contract.plan[0].graph, device=device, precision="f32", threads=None).close()
    except (MissingExtra, DeviceUnavailable) as error:
        return [error.problem]
    return []


def precisions(device: str) -> tuple[str, ...]:
    """Only f32: the graphs are float32, and ONNX Runtime computes in what is written."""
    return ("f32",)


def terms(contract: Contract, *, device: str) -> Contract:
    """On a GPU one graph from the frame to the answer, of an artifact that has such; the plan as it is otherwise."""
    has_one_piece = all(graph in contract.graphs for graph in onepiece.GRAPHS)
    return onepiece.in_one_piece(contract) if device == "cuda" and has_one_piece else contract


def open(artifact: Artifact, graph: str, *, device: str, precision: str, threads: int | None) -> Session:
    """Load ``graph`` on ``device``."""
    loaded = runtime()
    options = loaded.SessionOptions()
    options.log_severity_level = 3  # warnings about provider placement are judged below, not printed
    options.intra_op_num_threads = threads or 0
    if operators := _native_operators(artifact.file(graph), device):
        options.register_custom_ops_library(str(operators))
    load = functools.partial(_load, loaded, options, artifact, graph)
    if device == "cpu":
        return _Session(load(device=device, settings={}))
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # TF32 keeps 10 bits of mantissa, which nobody asked for.
    settings = {"use_tf32": "0"}
    captures = graph in onepiece.GRAPHS
    try:
        session = load(device=device, settings=settings | {"enable_cuda_graph": "1"} if captures else settings)
    except DeviceUnavailable:
        if not captures:
            raise
        captures = False  # some versions capture no graph that reckons with shapes
        session = load(device=device, settings=settings)
    bound.require_placement(session, _PROVIDERS[device], graph=f"{graph} of {artifact.name}")
    return bound.BoundSession(loaded, session, device=device, captures=captures)


def _load(
    loaded: Any,  # noqa: ANN401  the runtime has no types
    options: Any,  # noqa: ANN401
    artifact: Artifact,
    graph: str,
    *,
    device: str,
    settings: Mapping[str, str],
) -> Any:  # noqa: ANN401
    provider = _PROVIDERS[device]
    try:
        session = loaded.InferenceSession(artifact.file(graph), options, providers=[(provider, dict(settings))])
    except Exception as error:  # the runtime raises classes of its own, none documented as the one for this
        raise DeviceUnavailable(
            f"onnxruntime cannot open {graph} of {artifact.name} on {device}: {error}", remedy="imdl doctor"
        ) from error
    if session.get_providers()[0] != provider:
        raise DeviceUnavailable(f"onnxruntime could not start its {provider}", remedy="imdl doctor")
    return session


class _Session:
    """An ``InferenceSession``, whose ``run`` is safe to call from any number of threads."""

    parallel = 1

    def __init__(self, session: Any) -> None:  # noqa: ANN401  the runtime has no types
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self._lock = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None
        forks.outlive(self)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs for ``feeds``, in fresh arrays."""
        session = self._session
        if session is None:
            raise AnalyzerClosed("the session was closed during an analysis", remedy="close the Analyzer later")
        return dict(zip(self._outputs, session.run(self._outputs, dict(feeds)), strict=True))

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> Pending:
        """Start on ``feeds`` in a worker thread."""
        with self._lock:
            if self._session is None:
                raise AnalyzerClosed("the session was closed during an analysis", remedy="close the Analyzer later")
            self._worker = self._worker or ThreadPoolExecutor(1, thread_name_prefix="imdl-onnxruntime")
            return cast("Pending", self._worker.submit(self.run, feeds))

    def close(self) -> None:
        """Stop the thread; the runtime frees its memory with the last reference."""
        with self._lock:
            self._session, worker = None, self._worker
            self._worker = None
        if worker:  # outside the lock: what it runs may ask for it
            worker.shutdown()


def runtime() -> Any:  # noqa: ANN401  the runtime has no types
    """ONNX Runtime, imported so that it tells nobody of its use.

    From 1.29 on it reports sessions to Microsoft, on Linux too, and keeps a device's number in the home folder, unless
    ``ORT_DISABLE_TELEMETRY`` is set while it is imported. Where a program imported it before, it is told to stop.
    """
    global _runtime  # noqa: PLW0603  once imported it is asked for without a lock that a fork could freeze
    if _runtime is None:
        with _importing:  # one at a time: each puts the environment back as it found it
            _runtime = _runtime or _imported()
    return _runtime


def _imported() -> Any:  # noqa: ANN401
    before = os.environ.get(SILENCE)
    os.environ[SILENCE] = "1"
    try:
        imported = import_module("onnxruntime")
    except Exception as error:  # an installation that is broken raises what it likes
        raise MissingExtra("onnxruntime", extra="cpu", purpose="the backend onnxruntime", why=str(error)) from error
    finally:
        if before is None:
            os.environ.pop(SILENCE, None)
        else:
            os.environ[SILENCE] = before
    imported.disable_telemetry_events()
    return imported


def _native_operators(file: Path, device: str = "cpu") -> Path | None:
    """The native library for ``device``, if there is one and the graph has nodes of ours; else their bodies run."""
    if b"forensics" not in file.read_bytes():
        return None
    return library.path() if device == "cpu" else cuda_library.path()
