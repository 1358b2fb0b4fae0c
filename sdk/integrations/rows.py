"""Batches of rows in, batches of rows out: a row that cannot be analysed is a row with an error, and costs no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.analyzer import Analyzer, load
from sdk.decoding import file_size
from sdk.errors import BadSetting, DecodeFailed, SdkError
from sdk.limits import Limits, check_bytes
from sdk.results import Analysis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

COLUMNS = ("sha256", "score", "verdict", "reason", "mask_share", "regions", "model", "artifact", "error_type", "error")
"""What is added to a row. Of a failed one the first and the last two are filled."""


class AnalyzeBatch:
    """Adds what an Analyzer finds to rows with a column of files' bytes, or of paths; the class for ``map_batches``.

        pool = ray.data.ActorPoolStrategy(size=4)
        dataset.map_batches(AnalyzeBatch, fn_constructor_kwargs={"column": "bytes"}, batch_size=16, compute=pool)

    ``settings`` are those of :func:`sdk.load`. The bytes are not handed on; every other column is.
    """

    def __init__(self, *, column: str = "bytes", settings: Mapping[str, Any] | None = None) -> None:
        self._column = column
        self._analyzer: Analyzer = load(**{"threads": 1, **(settings or {})})

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> Columns:
        """A row for each row, in their order."""
        if self._column not in batch:
            raise BadSetting(
                f"rows have no column {self._column!r}", remedy=f"name one of: {', '.join(map(str, batch))}"
            )
        limits = self._analyzer.recipe.limits or Limits()
        files = [_file(value, limits) for value in batch[self._column]]
        whole = {index: file for index, file in enumerate(files) if isinstance(file, bytes)}
        found = self._analyzer.analyze_batch(whole.values(), errors="return") if whole else []
        answers: dict[int, Analysis | SdkError] = dict(zip(whole, found, strict=True))
        rows = [_row(file, answers.get(index, file)) for index, file in enumerate(files)]
        kept = {name: values for name, values in batch.items() if name != self._column or not _is_of_files(values)}
        return kept | {name: _column(name, [row[name] for row in rows]) for name in COLUMNS}

    def close(self) -> None:
        """Release the Analyzer."""
        self._analyzer.close()


def _is_of_files(values: NDArray[Any]) -> bool:
    """Whether a column holds files and not their paths, which are handed on."""
    return not any(isinstance(value, str) for value in values)


def _file(value: object, limits: Limits) -> bytes | SdkError:
    """The bytes of a file that are given, or that lie at a path; one over ``limits`` is not read."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        return BadSetting(f"the row holds {type(value).__name__}", remedy="give the bytes of a file, or its path")
    try:
        check_bytes(value, file_size(Path(value), value), limits)
        return Path(value).read_bytes()
    except SdkError as error:
        return error
    except OSError as error:
        return DecodeFailed(f"{value} cannot be read: {error.strerror}", remedy="see that this machine reaches it")


def _row(file: bytes | SdkError, answer: Analysis | SdkError | bytes) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMNS)
    if isinstance(file, bytes):
        row["sha256"] = hashlib.sha256(file).hexdigest()
    if isinstance(answer, SdkError):
        return row | {"error_type": type(answer).__name__, "error": answer.problem}
    assert isinstance(answer, Analysis)  # each file has an answer
    told = answer.to_dict()
    return row | {
        "score": answer.score,
        "verdict": answer.verdict.name,
        "reason": answer.verdict.reason,
        "mask_share": told["mask_share"],
        "regions": json.dumps(told["regions"], separators=(",", ":")),
        "model": f"{answer.runtime.model} {answer.runtime.version}",
        "artifact": answer.runtime.artifact,
    }


def _column(name: str, values: list[object]) -> NDArray[Any]:
    """A column of one type whatever a batch holds: numbers are NaN where there are none, texts None."""
    if name in ("score", "mask_share"):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.array(values, object)
