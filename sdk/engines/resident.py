"""Frames that are on a GPU already: kept there, and read by the host only where it asks.

They are copied within the GPU, at a hundredth of what the way to the host and back takes: whoever gave one may write
over it at once, and the result can still show what was analysed.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import defaultdict, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdk.cuda_arrays import view
from sdk.engines.memory import Stream

SPARE = 4
"""Buffers of one size that are kept for the next frames; what is allocated anew waits for all work on the GPU."""


class Keeper:
    """Takes frames over, on a stream of its own. Any number of threads may use it."""

    def __init__(self) -> None:
        self._stream = Stream()
        self._lock = threading.Lock()
        # No lock around these: memory comes back when a frame goes, whatever this thread is at.
        self._spare: defaultdict[int, deque[int]] = defaultdict(deque)
        self._closed = False

    @property
    def stream(self) -> int:
        """Address of the stream."""
        return self._stream.address

    def take(self, source: object) -> Resident | None:
        """A copy of a uint8 array [H, W, 3] on the GPU; None if it is anything else or its pixels are scattered."""
        seen = view(source, stream=self._stream.address)
        if seen.dtype != np.uint8 or len(seen.shape) != 3 or seen.shape[2] != 3 or 0 in seen.shape:
            return None
        if seen.pieces() is None:
            return None
        size = seen.shape[0] * seen.shape[1] * 3
        with self._lock:
            try:
                address = self._spare[size].pop()
            except IndexError:
                address = self._stream.allocate(size)
            self._stream.take_over(source, address)
            self._stream.wait()
        return Resident(self, address, seen.shape)

    def read(self, address: int, pitch: int, count: int, length: int) -> NDArray[np.uint8]:
        """Copies of ``count`` pieces of ``length`` bytes, ``pitch`` bytes apart, [count, length]."""
        found = np.empty((count, length), np.uint8)
        with self._lock:
            self._stream.fetch(found, address, pitch)
            self._stream.wait()
        return found

    def read_each(self, addresses: list[int], length: int) -> NDArray[np.uint8]:
        """Copies of the ``length`` bytes at each of ``addresses``, [count, length]."""
        found = np.empty((len(addresses), length), np.uint8)
        with self._lock:
            for row, address in zip(found, addresses, strict=True):
                self._stream.fetch(row[None], address, length)
            self._stream.wait()
        return found

    def give_back(self, address: int, size: int, process: int) -> None:
        """Memory of a frame that is gone; what a fork inherited is the parent's."""
        if process != os.getpid():
            return
        if self._closed or len(self._spare[size]) >= SPARE:
            self._stream.free(address)
        else:
            self._spare[size].append(address)

    def close(self) -> None:
        """Give back what is spare. Frames that are still held keep theirs, and can still be read. Idempotent."""
        self._closed = True
        for addresses in list(self._spare.values()):
            while addresses:
                self._stream.free(addresses.pop())


class Resident:
    """A frame [H, W, 3] of uint8 in GPU memory of its own; NumPy reads it as an array, which copies it."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, keeper: Keeper, address: int, shape: tuple[int, ...]) -> None:
        self._keeper, self._address = keeper, address
        self.shape = shape
        self._host: NDArray[np.uint8] | None = None
        size = shape[0] * shape[1] * 3
        weakref.finalize(self, keeper.give_back, address, size, os.getpid()).atexit = False

    def batch(self) -> Batch:
        """It as a batch of one."""
        return Batch(self)

    @property
    def address(self) -> int:
        """Where it lies on the GPU."""
        return self._address

    @property
    def stream(self) -> int:
        """On which it was made."""
        return self._keeper.stream

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401  NumPy's own
        """All of it, copied to the host once."""
        height, width, _ = self.shape
        if self._host is None:
            found = self._keeper.read(self._address, 3 * width, height, 3 * width).reshape(self.shape)
            found.flags.writeable = False
            self._host = found
        return np.array(self._host, dtype=dtype, copy=copy)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:  # noqa: ANN401  what NumPy takes
        """Rows, and of these what is asked for: only they are copied to the host."""
        rows, *rest = key if isinstance(key, tuple) else (key,)
        height, width, _ = self.shape
        length = 3 * width
        chosen = np.arange(height)[rows]
        steps = set(np.diff(chosen).tolist())
        if len(steps) <= 1 and min(steps, default=1) > 0:
            start = self._address + length * int(chosen[0])
            found = self._keeper.read(start, length * (steps.pop() if steps else 1), len(chosen), length)
        else:
            found = self._keeper.read_each([self._address + length * int(row) for row in chosen], length)
        pixels = found.reshape(len(chosen), width, 3)
        return pixels[(slice(None), *rest)]

    def __reduce__(self) -> tuple[object, ...]:
        return np.array, (np.asarray(self),)


class Batch:
    """One frame as [1, H, W, 3], to feed a session with."""

    dtype = Resident.dtype
    ndim = 4

    def __init__(self, frame: Resident) -> None:
        self._frame = frame
        self.shape = (1, *frame.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Where it lies, and the stream on which it was made."""
        return {
            "data": (self._frame.address, False), "shape": self.shape, "typestr": "|u1", "version": 3,
            "strides": None, "stream": self._frame.stream,
        }  # fmt: skip

    def astype(self, dtype: Any, *, copy: bool = True) -> Batch:  # noqa: ANN401  as of an array
        """Itself: frames have one type."""
        assert dtype == self.dtype
        return self

    def __len__(self) -> int:
        return 1
