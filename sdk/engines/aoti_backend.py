"""The backends of AOTInductor: packages that call operators of ours, and such that need none, over one session."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import platform
import threading
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdk import forks
from sdk.engines import aoti_operators, gpu, kept
from sdk.engines.aoti_run import Package, Running
from sdk.engines.cache import Cache, Entry, Key
from sdk.engines.onepiece import in_one_piece
from sdk.engines.profile import Profile
from sdk.errors import AnalyzerClosed, SdkError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.artifact import Artifact
    from sdk.backend import Arrays
    from sdk.contract import Contract

USUAL = Profile(working_size=0)


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What a module in ``sdk/backends`` provides."""

    plugins: bool
    """Whether packages call operators of ours, for which the native library is loaded, or hold what they are made of.

    One is no fallback of the other.
    """

    @property
    def name(self) -> str:
        """Of the backend."""
        return "aotinductor_plugins" if self.plugins else "aotinductor"

    @property
    def verb(self) -> str:
        """What compiles packages."""
        return "aotinductor --plugins" if self.plugins else "aotinductor"

    def reasons_against(self, artifact: Artifact, *, device: str) -> list[str]:
        """Why this machine cannot run ``artifact`` on ``device``; torch is not asked, it takes seconds to import."""
        if _version() is None:
            return ["torch is not installed"]
        if device == "cuda" and not gpu.count():
            return ["no NVIDIA driver with a GPU was found"]
        try:
            if self.built(artifact, device=device):
                return []
            near = Cache().near(self.key(artifact, "f32", USUAL, device=device))
        except SdkError as error:
            return [error.problem]
        how = f"python -m export {self.verb} {artifact.in_shell} --device {device}"
        return ["; ".join([f"no package is compiled for this machine: {how}", *near])]

    def precisions(self, device: str) -> tuple[str, ...]:
        """All: whichever a package was compiled in. Our operators for the CPU are in f32."""
        return ("f32",) if self.plugins and device == "cpu" else ("f32", "bf16", "fp16")

    def built(self, artifact: Artifact, *, device: str) -> tuple[str, ...]:
        """Precisions of the packages that are kept for this machine."""
        cache = Cache()
        return tuple(
            precision
            for precision in self.precisions(device)
            if kept.serving(cache, self.key(artifact, precision, USUAL, device=device))
        )

    def terms(self, contract: Contract, *, device: str) -> Contract:
        """The contract with the plan of engines."""
        return in_one_piece(contract)

    def open(self, artifact: Artifact, graph: str, *, device: str, precision: str, threads: int | None) -> Session:
        """A session that loads the package for each kind of frame when the first such frame comes.

        Torch decides how many threads run on a CPU; ``threads`` is not followed here.
        """
        return Session(self, artifact, precision, device)

    def key(self, artifact: Artifact, precision: str, profile: Profile, *, device: str) -> Key:
        """The key of a package: all that an artifact holds, the torch that compiles it, and the library it calls."""
        operators = self.operators(device)
        return Key(
            source=artifact.digest,
            graph="frame.plugins" if operators else "frame",
            module="torch",
            version=_version() or "none",
            precision=precision,
            profile=profile,
            target=target(device),
            plugins=operators.sha256 if operators else "",
        )

    def operators(self, device: str) -> aoti_operators.Operators | None:
        """Those that packages of this kind call; :class:`sdk.errors.DeviceUnavailable` where they are not here."""
        return aoti_operators.loaded(device) if self.plugins else None


class Session:
    """The packages of one artifact in one precision on one device."""

    def __init__(self, kind: Kind, artifact: Artifact, precision: str, device: str) -> None:
        self._device, self._operators = device, kind.operators(device)
        self.parallel = 3 if device == "cuda" else 1  # on a CPU a package runs one frame after the other
        wanted = kind.key(artifact, precision, USUAL, device=device)
        self._shelf = kept.Shelf(Cache(), wanted, verb=f"{kind.verb} {artifact.in_shell} --device {device}")
        self._packages: dict[str, Package] | None = {}
        self._lock = threading.Lock()
        forks.outlive(self)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs for ``feeds``, in fresh arrays."""
        return self.submit(feeds).result()

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> Running:
        """Start on ``feeds``; a frame may lie on the GPU."""
        return self._package(self._shelf.entry_for(feeds)).start({"frame": feeds["frame"]})

    def close(self) -> None:
        """Let go of the packages; torch frees them with the last reference. Idempotent."""
        with self._lock:
            self._packages = None

    def _package(self, entry: Entry) -> Package:
        with self._lock:
            if self._packages is None:
                raise AnalyzerClosed("the session was closed during an analysis", remedy="close the Analyzer later")
            digest = entry.key.digest
            if digest not in self._packages:
                self._packages[digest] = Package(entry.read(), device=self._device, operators=self._operators)
            return self._packages[digest]


def target(device: str) -> str:
    """What packages for ``device`` are compiled for here: "sm_90", or what this CPU offers to compilers."""
    return gpu.target() or "no GPU" if device == "cuda" else _cpu()


def _version() -> str | None:
    """Version of the torch that is installed; asked of its metadata, so that nothing looks for the module."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


@functools.cache
def _cpu() -> str:
    """Machine and instruction sets: what is compiled here runs where they are the same."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:8]
    return f"{platform.machine()} {digest}"
