"""Path or bytes to frame: header first, pixels in a worker process with limits and a deadline."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import stat
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sdk import pillow, pillow_limit
from sdk.decoding_process import WorkerProcess
from sdk.errors import DecodeFailed, RunFailed, UnknownName
from sdk.limits import Limits, check_bytes

__all__ = ["Decoded", "Decoder", "Limits", "Mode", "Source"]

Mode: TypeAlias = Literal["worker", "fresh", "inline"]
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The pixels of a file and how they were reached."""

    frame: NDArray[np.uint8]
    """RGB, [H, W, 3], as stored: not turned upright."""
    orientation: int
    """EXIF orientation, 1 to 8; :func:`sdk.frames.to_display` applies it."""
    format: str
    """Format of the file by its content: JPEG, PNG, ..."""
    decoder: str
    """Libraries that decoded it, with versions."""
    notes: tuple[str, ...]
    """What was done to reach 8-bit RGB and what was left aside."""
    quality: int | None
    """Of a JPEG, as :mod:`sdk.jpeg_quality` tells it."""

    @property
    def width(self) -> int:
        """Columns as stored, px."""
        return int(self.frame.shape[1])

    @property
    def height(self) -> int:
        """Rows as stored, px."""
        return int(self.frame.shape[0])

    def __repr__(self) -> str:
        return f"Decoded({self.width}x{self.height}, {self.format}, orientation={self.orientation}, notes={self.notes})"


class Decoder:
    """Decodes files, from any number of threads at once; usable after fork and under pickle.

    ``mode="worker"`` decodes in ``workers`` processes, started when first needed, each replaced after a crash or a
    missed deadline. One that a hostile file takes over serves files until then: it can read what comes after, and
    answer falsely about it. ``mode="fresh"`` gives each file a process of its own, which starts while others are looked
    at, and costs that start. ``mode="inline"`` decodes in the caller's process, for files that are trusted: there the
    limits on seconds and memory do not hold, and a codec's crash is the caller's.
    """

    PROCESS = WorkerProcess
    """What its workers are."""

    def __init__(self, limits: Limits | None = None, *, mode: Mode = "worker", workers: int = 2) -> None:
        if mode not in get_args(Mode):
            raise UnknownName("way of decoding", mode, get_args(Mode))
        self.limits = limits or Limits()
        self.mode = mode
        self._workers = max(1, workers)
        # By process id: after a fork the child makes workers of its own and leaves the parent's alone.
        self._pools: dict[int, _Pool] = {}
        self._close = weakref.finalize(self, _close_pools, self._pools)

    def decode(self, source: Source, *, most_pixels: int = sys.maxsize) -> Decoded:
        """Pixels of the file at a path, or of the file's bytes; of more it is a :class:`LargePicture`."""
        name, data = _checked(source, self.limits)
        if self.mode == "inline":
            return _decode_inline(name, data, self.limits, most_pixels)
        with _opened(data, name) as file, self._pool().worker() as worker:
            frame, said = worker.decode(name, file, most_pixels=most_pixels)
        return Decoded(frame, **said)

    def close(self) -> None:
        """Stop the workers. Idempotent; a later ``decode`` starts new ones."""
        _close_pools(self._pools)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the settings; processes stay where they are."""
        return partial(type(self), mode=self.mode, workers=self._workers), (self.limits,)

    def _pool(self) -> _Pool:
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:  # setdefault is atomic: two threads get the same pool, with no lock that a fork could freeze
            made = _Pool(partial(self.PROCESS, self.limits), self._workers, fresh=self.mode == "fresh")
            pool = self._pools.setdefault(pid, made)
        return pool


class _Pool:
    """A fixed number of places for workers; the place used last is taken first, so that unneeded ones stay empty.

    A ``fresh`` worker takes one file and is then replaced by one that starts by itself until its place is taken; there
    the place used last is taken last.
    """

    def __init__(self, started: Callable[..., WorkerProcess], size: int, *, fresh: bool) -> None:
        self._started, self._fresh = started, fresh
        self._drained = False
        self._places: queue.Queue[WorkerProcess | None] = queue.Queue() if fresh else queue.LifoQueue()
        for _ in range(size):
            self._places.put(None)

    @contextlib.contextmanager
    def worker(self) -> Iterator[WorkerProcess]:
        worker = self._places.get()
        try:
            if worker is None or not worker.alive:
                if worker is not None:
                    worker.close()
                    worker = None
                worker = self._started()
            worker.ready()
            yield worker
        finally:
            if worker is not None and self._fresh:
                worker.close()
                worker = None
                with contextlib.suppress(RunFailed):  # whoever needs it tries again, and is told
                    worker = self._started(waits=False)
            if worker is not None and (self._drained or not worker.alive):
                worker.close()
                worker = None
            self._places.put(worker)

    def drain(self, *, ours: bool) -> None:
        """Stop idle workers now and busy ones after their file, or only let go of another process's."""
        self._drained = True
        taken = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self._places.get_nowait())
        for worker in taken:
            self._places.put(None)
            if worker is not None:
                (worker.close if ours else worker.forget)()


def _close_pools(pools: dict[int, _Pool]) -> None:
    for pid in list(pools):
        pool = pools.pop(pid, None)
        if pool is not None:
            pool.drain(ours=pid == os.getpid())


def _checked(source: Source, limits: Limits) -> tuple[str, Path | memoryview]:
    """A name for messages and the source, after what can be known without reading it."""
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source)
        data = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        name, size = f"the file given as {len(data):,} bytes", len(data)
        checked: Path | memoryview = data
    else:
        checked = Path(source).absolute()
        name = pillow.readable(source) if str(source) else "the empty path"
        size = file_size(checked, name)
    if size == 0:
        raise DecodeFailed(f"{name} is empty", remedy="fetch the file again from its source")
    check_bytes(name, size, limits)
    return name, checked


@contextlib.contextmanager
def _opened(source: Path | memoryview, name: str) -> Iterator[BinaryIO | memoryview]:
    """The file at a path, or the bytes as they are."""
    if isinstance(source, memoryview):
        yield source
        return
    with open_file(source, name) as file:
        yield file


def open_file(path: Path, name: str) -> BinaryIO:
    """The file at ``path``, which messages call ``name``, to be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise DecodeFailed(f"{name} cannot be opened: {error.strerror or error}", remedy="check the path") from error


def file_size(path: Path, name: str) -> int:
    """Bytes of the regular file at ``path``, which messages call ``name``."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise DecodeFailed(
            f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}", remedy="check the path"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise DecodeFailed(f"{name} is {kind}", remedy="give the path of a file, or the bytes of an image")
    return status.st_size


def _decode_inline(name: str, source: Path | memoryview, limits: Limits, most_pixels: int) -> Decoded:
    with (
        open_file(source, name) if isinstance(source, Path) else io.BytesIO(source) as file,
        pillow_limit.raised_to(limits.pixels),
    ):
        picture = pillow.read(file, name=name, limits=limits, most_pixels=most_pixels)
    return Decoded(
        np.array(picture.image),
        orientation=picture.orientation,
        format=picture.format,
        decoder=picture.decoder,
        notes=picture.notes,
        quality=picture.quality,
    )
