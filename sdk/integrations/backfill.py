"""A folder of photographs, or Parquet files with a column of files' bytes, into Parquet files of results; resumable.

The source is cut into parts once, and ``_plan.json`` in the folder of results tells how. Each part becomes one file,
written beside its place and then put there: it is whole or not there. A run does the parts that are not there; whatever
is killed, and however often a part is begun, every row is there once in the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdk import artifact
from sdk.engines.cache import write
from sdk.errors import BadSetting, DecodeFailed, MissingExtra
from sdk.integrations import locks
from sdk.integrations.rows import COLUMNS, AnalyzeBatch
from sdk.overlay_mark import is_overlay
from sdk.paths import Skipped, expand

PLAN = "_plan.json"
"""Readers of Parquet pass over names that begin so."""
LOCK = "_lock"
"""Held while the source is cut: two runs would give one name to parts of different rows."""
STALE_S = 3600
"""Age at which what a killed run left behind is removed, s; one that lives writes to it more often."""
SCHEMA = 1
FILES = 256
"""Photographs of a folder that make one part."""
BATCH = 16
"""Rows that are in memory at a time."""
PATH = "path"
NUMBERS = ("score", "mask_share")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Rows that make one file of results."""

    name: str
    file: str = ""
    """Parquet file that the rows are in; empty for photographs."""
    row_group: int = 0
    paths: tuple[str, ...] = ()
    """Photographs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is made of what, and how; all that travels to a machine."""

    out: str
    column: str
    settings: Mapping[str, Any]
    """Of :func:`sdk.load`."""


class AnalyzePart:
    """Makes the file of a part. One for each process: its Analyzer stays loaded."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._analyze = AnalyzeBatch(column=job.column, settings=job.settings)

    def __call__(self, part: Part) -> dict[str, int]:
        """Write the file of ``part``; how many rows it has, and how many of them failed."""
        parquet, arrow = _parquet(), _arrow()
        place = Path(self._job.out) / f"{part.name}.parquet"
        partial = place.with_name(f".{part.name}.{uuid.uuid4().hex}.part")
        rows = failed = 0
        writer, holds_paths = None, _holds_paths(part, self._job.column)
        try:
            for batch in _batches(part, self._job.column):
                found = self._analyze(batch)  # of paths that are all missing it cannot tell that they are paths
                table = arrow.table(_typed({**batch, **found} if holds_paths else found))
                writer = writer or parquet.ParquetWriter(partial, table.schema)
                writer.write_table(table.cast(writer.schema))
                rows += table.num_rows
                failed += table.num_rows - table["error"].null_count
            if writer:
                writer.close()
                _settle(partial, place)
        finally:
            partial.unlink(missing_ok=True)
        return {"rows": rows, "failed": failed}

    def close(self) -> None:
        """Release the Analyzer."""
        self._analyze.close()


def planned(
    source: Path, out: Path, *, column: str = "bytes", settings: Mapping[str, Any] | None = None
) -> tuple[Job, list[Part]]:
    """The job, and those of its parts that are not done; what is new in ``source`` since the last time is planned, too.

    Raises:
        BadSetting: nothing is there to be analysed, ``out`` is the source or holds it, or has results of another model
            or other settings, or another run has been cutting the source for too long.
    """
    _parquet()  # before anything is left behind
    _check_apart(source, out)
    chosen = {**(settings or {})}
    model = artifact.read(artifact.find(chosen.get("model")))
    how = {"schema": SCHEMA, "artifact": model.digest, "column": column, "settings": _plain(chosen)}
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("ab") as lock:
        locks.hold(lock, f"another run is cutting the source for {out}", remedy="run it again when that is done")
        parts = _cut(source, out, how)
    if model.path.parent != artifact.SHIPPED:
        chosen["model"] = model.path
    of_paths = not parts[0].file
    job = Job(out=str(out.resolve()), column=PATH if of_paths else column, settings=chosen)
    return job, [part for part in parts if not (out / f"{part.name}.parquet").is_file()]


def _check_apart(source: Path, out: Path) -> None:
    """Refuse a source that is not there, and results in its place or around it."""
    if not source.exists() and not any(path.is_file() for path in expand([str(source)], Skipped())):
        raise BadSetting(f"{source} holds nothing to analyse: it does not exist", remedy="check the path")
    if out.exists() and not out.is_dir():
        raise BadSetting(f"{out} is no folder", remedy="name a folder for the results, which may be a new one")
    given, place = source.resolve(), out.resolve()
    if source.is_dir() and (place == given or place in given.parents):
        raise BadSetting(
            f"the results would go into {out}, which {'is' if place == given else 'holds'} the source",
            remedy="name another folder for the results: beside the source, or in it",
        )


def _cut(source: Path, out: Path, how: Mapping[str, object]) -> list[Part]:
    """All parts, and the plan that tells of them; whoever calls holds the lock."""
    for file in out.glob(".part-*.part"):
        with contextlib.suppress(FileNotFoundError):  # another run has brought it into its place
            if file.stat().st_mtime < time.time() - STALE_S:
                file.unlink()
    known = _read(out / PLAN, how)
    parts = [*known, *_new(source, known, out)]
    if not parts:
        raise BadSetting(f"{source} holds nothing to analyse", remedy="name a folder of photographs or Parquet files")
    if len({bool(part.file) for part in parts}) > 1:
        raise BadSetting(
            f"{out} holds results of photographs or of Parquet files, and {source} has the other",
            remedy="keep them in folders of their own, sources and results",
        )
    plan = {"how": how, "parts": [dataclasses.asdict(part) for part in parts]}
    write(out / PLAN, (json.dumps(plan, indent=1) + "\n").encode())
    return parts


def run(job: Job, parts: Sequence[Part]) -> Iterator[dict[str, int]]:
    """Make the parts on this machine, one after the other; the numbers of rows of each."""
    make = AnalyzePart(job)
    try:
        yield from map(make, parts)
    finally:
        make.close()


def _read(file: Path, how: Mapping[str, object]) -> list[Part]:
    """The parts of an earlier run with the same settings."""
    if not file.is_file():
        return []
    try:
        plan = json.loads(file.read_bytes())
        changed = sorted(name for name in how if plan["how"].get(name) != how[name])
        if changed:
            raise BadSetting(
                f"{file.parent} holds results that were made with another {', '.join(changed)}",
                remedy="name another folder for the results",
            )
        return [Part(**{**part, "paths": tuple(part["paths"])}) for part in plan["parts"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadSetting(
            f"{file} is no plan of a back-fill: {error!r}", remedy="name another folder for the results"
        ) from error


def _new(source: Path, known: Sequence[Part], out: Path) -> Iterator[Part]:
    """Parts of what no part has yet. Results that lie within the source are none of it, nor are overlays."""
    tables = sorted(source.rglob("*.parquet")) if source.is_dir() else [source] * (source.suffix == ".parquet")
    is_result = functools.partial(_is_result, source.resolve(), functools.cache(_is_of_results), out.resolve())
    tables = [table for table in tables if not is_result(table.resolve())]
    number = len(known)
    if tables:
        seen = {(part.file, part.row_group) for part in known}
        for table in tables:
            facts = _table(table).metadata
            for group in range(facts.num_row_groups):
                if (str(table.resolve()), group) not in seen and facts.row_group(group).num_rows:
                    yield Part(name=f"part-{number:06d}", file=str(table.resolve()), row_group=group)
                    number += 1
        return
    old = {path for part in known for path in part.paths}
    paths = [path.resolve() for path in expand([str(source)], Skipped()) if path.is_file()]
    named = {str(path) for path in paths if not is_result(path)}
    fresh = [path for path in sorted(named - old) if not is_overlay(Path(path))]
    for start in range(0, len(fresh), FILES):
        yield Part(name=f"part-{number:06d}", paths=tuple(fresh[start : start + FILES]))
        number += 1


def _is_result(source: Path, holds_results: Callable[[Path], bool], out: Path, file: Path) -> bool:
    """Whether a file of ``source`` lies in a folder of results, ``out`` or that of another run."""
    within = [folder for folder in file.parents if folder == source or source in folder.parents]
    return any(folder == out or holds_results(folder) for folder in within)


def _is_of_results(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def _batches(part: Part, column: str) -> Iterable[dict[str, Any]]:
    """The rows of a part, some at a time."""
    if not part.file:
        for start in range(0, len(part.paths), BATCH):
            yield {PATH: np.array(part.paths[start : start + BATCH], object)}
        return
    for batch in _table(Path(part.file)).iter_batches(BATCH, row_groups=[part.row_group]):
        names = [name for name in batch.schema.names if name == column or name not in COLUMNS]
        yield {name: _of_arrow(batch.column(name), is_kept=name != column) for name in names}


def _of_arrow(values: Any, *, is_kept: bool) -> Any:  # noqa: ANN401  it has no types
    """A column that is handed on as it is, and the files or paths as Python's objects."""
    return values if is_kept else np.array(values.to_pylist(), object)


def _holds_paths(part: Part, column: str) -> bool:
    """Whether files are named by the rows of ``part``, and not held."""
    if not part.file:
        return True
    schema, types = _table(Path(part.file)).schema_arrow, _arrow().types
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _table(file: Path) -> Any:  # noqa: ANN401  it has no types
    """The Parquet file ``file``, opened."""
    try:
        return _parquet().ParquetFile(file)
    except _arrow().ArrowInvalid as error:
        raise DecodeFailed(f"{file} is no whole Parquet file: {error}", remedy="take it out of the source") from error


def _typed(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of Arrow: of ours each has its type also where a batch has no value; others keep theirs."""
    arrow = _arrow()

    def typed(name: str, values: Any) -> Any:  # noqa: ANN401  columns of either library
        if name in NUMBERS:
            return arrow.array(values, arrow.float64(), from_pandas=True)
        if name in COLUMNS or isinstance(values, np.ndarray):
            return arrow.array([_text(value) for value in values], arrow.string())
        return values

    return {name: typed(name, values) for name, values in columns.items()}


def _text(value: Any) -> Any:  # noqa: ANN401  a text, or None
    """A text as Parquet holds it: names of files may have bytes that are no UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _settle(partial: Path, place: Path) -> None:
    """Bring a file to the disk and into its place."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(place)


def _plain(settings: Mapping[str, Any]) -> dict[str, str]:
    """What results depend on, beside the artifact."""
    passing = ("decode", "model", "threads")
    return {name: repr(value) for name, value in sorted(settings.items()) if name not in passing}


def _arrow() -> Any:  # noqa: ANN401  it has no types
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("pyarrow", extra="parquet", purpose="a back-fill", why=str(error)) from error
    return pyarrow


def _parquet() -> Any:  # noqa: ANN401  it has no types
    _arrow()
    import pyarrow.parquet

    return pyarrow.parquet
