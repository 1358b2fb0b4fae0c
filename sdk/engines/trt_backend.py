"""The backends of TensorRT: engines without plugins, and with them, over one session."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kernels.library import PLUGINS
from sdk import forks
from sdk.engines import gpu, kept, memory, trt
from sdk.engines.cache import Cache, Entry, Key
from sdk.engines.onepiece import in_one_piece, named
from sdk.engines.profile import Profile
from sdk.engines.shipped import with_graphs
from sdk.engines.trt_run import Engine, Running
from sdk.errors import AnalyzerClosed, ArtifactInvalid, DeviceUnavailable, MissingExtra, SdkError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.artifact import Artifact
    from sdk.backend import Arrays
    from sdk.contract import Contract

_logger = logging.getLogger("imdl.tensorrt")


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What a module in ``sdk/backends`` provides."""

    plugins: bool
    """Whether operators of ours are nodes of the graphs, for which the library of plugins is loaded, or their bodies.

    One is no fallback of the other.
    """

    @property
    def name(self) -> str:
        """Of the backend."""
        return "tensorrt_plugins" if self.plugins else "tensorrt"

    @property
    def verb(self) -> str:
        """What makes graphs and engines."""
        return "tensorrt --plugins" if self.plugins else "tensorrt"

    def reasons_against(self, artifact: Artifact, *, device: str) -> list[str]:
        """Why this machine cannot run ``artifact`` on ``device``."""
        if not any(find_spec(name) for name in trt.PACKAGES):
            return ["neither tensorrt nor tensorrt_rtx is installed"]
        if device != "cuda":
            return [f"tensorrt does not run on {device}"]
        if not gpu.count():
            return ["no NVIDIA driver with a GPU was found"]
        graphs = {self.named("native", precision) for precision in self.precisions(device)}
        try:
            if graphs.isdisjoint(with_graphs(artifact).contract.graphs):
                with_plugins = " with plugins" if self.plugins else ""
                how = f"python -m export {self.verb} {artifact.in_shell}"
                return [f"{artifact.name} has no graphs for engines{with_plugins}: {how}"]
            memory.runtime()
            library = trt.load(gpu.target())
            if self.plugins:
                trt.plugins(library)
        except SdkError as error:
            return [f"{error.problem}: {error.remedy}" if isinstance(error, ArtifactInvalid) else error.problem]
        return []

    def precisions(self, device: str) -> tuple[str, ...]:
        """f32 and fp16: whichever an engine's graph is written in."""
        return ("f32", "fp16")

    def built(self, artifact: Artifact, *, device: str) -> tuple[str, ...]:
        """Precisions of the engines that are kept for this machine."""
        library, target, cache = trt.load(gpu.target()), gpu.target() or "", Cache()
        artifact = with_graphs(artifact)
        return tuple(
            precision
            for precision in self.precisions(device)
            if any(
                kept.serving(cache, self.key(artifact, graph, precision, library=library, target=target))
                for graph in ("native", "shrunk")
                if self.named(graph, precision) in artifact.contract.graphs
            )
        )

    def terms(self, contract: Contract, *, device: str) -> Contract:
        """The contract with the plan of engines."""
        return in_one_piece(contract)

    def open(self, artifact: Artifact, graph: str, *, device: str, precision: str, threads: int | None) -> Session:
        """A session that loads the kept engine for each kind of frame when the first such frame comes."""
        in_shell, artifact = artifact.in_shell, with_graphs(artifact)
        if self.named(graph, precision) not in artifact.contract.graphs:
            with_plugins = " with plugins" if self.plugins else ""
            raise DeviceUnavailable(
                f"{artifact.name} has no graph {graph} in {precision}{with_plugins}",
                remedy=f"python -m export {self.verb} {in_shell}",
            )
        return Session(self, artifact, graph, precision, verb=f"{self.verb} {in_shell}")

    def key(self, artifact: Artifact, graph: str, precision: str, *, library: trt.Library, target: str) -> Key:
        """The key of the engine for ``graph``, with the default profile."""
        return Key(
            source=kept.source(artifact, self.named(graph, precision)),
            graph=graph,
            module=library.name,
            version=library.version,
            precision=precision,
            profile=Profile(),
            target=target,
            plugins=trt.plugins(library) if self.plugins else "",
        )

    def named(self, graph: str, precision: str) -> str:
        """The contract's name for ``graph``."""
        return named(graph, precision, plugins=self.plugins)


class Session:
    """The engines of one graph in one precision."""

    parallel = 3

    def __init__(self, kind: Kind, artifact: Artifact, graph: str, precision: str, *, verb: str) -> None:
        self._library, self._cache = trt.load(gpu.target()), Cache()
        self._artifact, self._file = artifact, artifact.file(kind.named(graph, precision))
        self._key = kind.key(artifact, graph, precision, library=self._library, target=gpu.target() or "")
        self._shelf = kept.Shelf(self._cache, self._key, verb=verb)
        self._engines: dict[str, Engine] | None = {}
        self._lock = threading.Lock()
        forks.outlive(self)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs for ``feeds``, in fresh arrays."""
        return self.submit(feeds).result()

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> Running:
        """Start on ``feeds``; a frame may lie on the GPU."""
        return self.engine(self._shelf.entry_for(feeds)).start(feeds)

    def build(self, profile: Profile) -> None:
        """Build an engine for ``profile`` unless one that loads is kept for its usual frame."""
        self.secure(profile, [(1, *profile.usual, 3)])

    def secure(self, profile: Profile, shapes: Sequence[tuple[int, ...]]) -> Entry:
        """The engine that is kept for all ``shapes`` [N, H, W, 3], if it loads; else a new one for ``profile``."""
        wanted = dataclasses.replace(self._key, profile=profile)
        self._shelf.forget()
        with self._cache.building(wanted):
            for entry in kept.serving(self._cache, self._key):
                if all(entry.key.profile.admits(shape, 0) for shape in shapes) and self._loads(entry):
                    return entry
            start = time.monotonic()
            plan, timings = trt.build(
                self._library,
                self._file,
                profile,
                target=self._key.target,
                progress=_tell,
                timings=self._cache.recall("timings", self._whose),
            )
            self._cache.remember("timings", self._whose, timings)
            facts = {"model": self._artifact.name, "seconds": round(time.monotonic() - start, 1)}
            if wanted.plugins:
                facts["plugins"] = PLUGINS
            return self._cache.put(wanted, plan, facts=facts)

    def discard(self, entry: Entry) -> None:
        """Drop an engine that was not what it should be."""
        self._cache.remove(entry)
        self._shelf.forget()

    def close(self) -> None:
        """Give back what the engines hold, and keep the kernels that they compiled. Idempotent."""
        with self._lock:
            engines, self._engines = self._engines or {}, None
        for engine in engines.values():
            self._cache.remember("kernels", self._whose, engine.kernels())
            engine.close()

    def engine(self, entry: Entry) -> Engine:
        """A kept engine, loaded once."""
        with self._lock:
            if self._engines is None:
                raise AnalyzerClosed("the session was closed during an analysis", remedy="close the Analyzer later")
            digest = entry.key.digest
            if digest not in self._engines:
                kernels = self._cache.recall("kernels", self._whose)
                self._engines[digest] = Engine(self._library, entry.read(), kernels=kernels)
            return self._engines[digest]

    def _loads(self, entry: Entry) -> bool:
        """Whether a kept engine can be used; one that cannot goes, whatever the reason, which is logged."""
        try:
            self.engine(entry)
        except SdkError as error:
            if isinstance(error, AnalyzerClosed | MissingExtra):
                raise
            _logger.warning("an engine is built again: %s", error.problem)
            self._cache.remove(entry)
            return False
        return True

    @property
    def _whose(self) -> str:
        """Timings and kernels are of a package and a GPU, not of a model."""
        return f"{self._key.module} {self._key.version} {self._key.target}"


def _tell(phase: str, done: int, steps: int) -> None:
    """Progress of a build, for whoever listens: at its start, at its end and ten times between."""
    if steps and done % max(1, steps // 10) == 0:
        _logger.info("%s: %d of %d", phase, done, steps)
