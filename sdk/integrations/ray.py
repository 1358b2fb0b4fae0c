"""Ray: the back-fill on many machines, a class for datasets of one's own, and a deployment that batches requests.

    dataset.map_batches(sdk.integrations.ray.AnalyzeBatch, compute=ray.data.ActorPoolStrategy(size=4))
    serve.run(sdk.integrations.ray.deployment(max_batch_size=8))

Nothing here starts a cluster: ``ray.init()`` is the caller's. Ray reports its use to its makers unless
``RAY_USAGE_STATS_ENABLED=0`` is set where the cluster is started.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdk.analyzer import load
from sdk.errors import LimitExceeded, MissingExtra, RunFailed, SdkError
from sdk.integrations.backfill import AnalyzePart, Job, Part
from sdk.integrations.rows import AnalyzeBatch
from sdk.limits import Limits

__all__ = ["AnalyzeBatch", "deployment", "run"]

RETRIES = 3
"""How often a part is begun anew after what made it died: a machine, or a process that the part itself brings down."""


def run(job: Job, parts: Sequence[Part], *, workers: int | None = None, cpus: float = 1.0) -> Iterator[dict[str, int]]:
    """Make the parts of a back-fill on the cluster that ``ray.init`` joined; the numbers of rows of each.

    Every machine has to reach the source and the folder of results by the same paths. ``workers`` is how many
    processes with ``cpus`` CPUs each are used; None is as many as there are CPUs. What a machine that dies was at is
    made anew on another, ``RETRIES`` times: parts are whole or not there.

    Raises:
        RunFailed: the cluster cannot make a part, or parts are missing in the end.
    """
    ray = _module("ray")
    most = workers or int(ray.cluster_resources().get("CPU", 1) / cpus) or 1
    # An error of ours is no death, which Ray does not retry, and is raised here.
    make = ray.remote(num_cpus=cpus, max_retries=RETRIES)(_made)
    pickled, waiting = pickle.dumps(job), list(reversed(parts))
    running: dict[Any, Part] = {}
    while waiting or running:
        while waiting and len(running) < 2 * most:  # one in reserve for each process
            part = waiting.pop()
            running[make.remote(pickled, part)] = part
        for done in ray.wait(list(running))[0]:
            yield _told_of(ray, done, running.pop(done))
    lost = [part.name for part in parts if not (Path(job.out) / f"{part.name}.parquet").is_file()]
    if lost:
        raise RunFailed(
            f"{len(lost)} parts are missing, {lost[0]} among them",
            remedy=f"see that every machine reaches {job.out}, and run it again",
        )


def deployment(
    *,
    settings: Mapping[str, Any] | None = None,
    max_batch_size: int = 8,
    wait_s: float = 0.01,
    **options: Any,  # noqa: ANN401  those of Ray Serve
) -> Any:  # noqa: ANN401  it has no types
    """An application for ``serve.run``: the bytes of a file by POST, or ``handle.analyze.remote(file)``.

    Files that come within ``wait_s`` seconds are analysed together, ``max_batch_size`` at most. The answer is what
    :meth:`sdk.Analysis.to_dict` gives; of a file that cannot be analysed its error, by HTTP with the status 422.
    ``settings`` are those of :func:`sdk.load`, ``options`` those of a deployment: replicas, CPUs.
    """
    serve, given = _module("ray.serve"), {"threads": 1, **(settings or {})}
    limit = (given.get("limits") or Limits()).bytes

    class ImageAnalysis:
        """One replica: an Analyzer, loaded and warm."""

        def __init__(self) -> None:
            self._analyzer = load(**given)
            self._analyzer.warmup()

        @serve.batch(max_batch_size=max_batch_size, batch_wait_timeout_s=wait_s)  # type: ignore[untyped-decorator]
        async def analyze(self, files: list[bytes]) -> list[dict[str, object]]:
            found = await asyncio.to_thread(self._analyzer.analyze_batch, files, errors="return")
            return [_told(each) for each in found]

        async def __call__(self, request: Any) -> Any:  # noqa: ANN401  Starlette's
            from starlette.responses import JSONResponse

            try:
                told = await self.analyze(await _body(request, limit))
            except LimitExceeded as error:
                return JSONResponse(_told(error), status_code=413)
            return JSONResponse(told, status_code=422 if "error" in told else 200)

    return serve.deployment(**options)(ImageAnalysis).bind()


def _made(job: bytes, part: Part) -> dict[str, int]:
    """Make a part, in a process of the cluster."""
    return _maker(job)(part)


_kept: dict[bytes, AnalyzePart] = {}
"""What makes the parts of the job that this process works on: a task has no other place for what outlives it."""


def _maker(job: bytes) -> AnalyzePart:
    """What makes the parts of a job: its Analyzer stays loaded until the process takes another, or ends."""
    if job not in _kept:
        while _kept:
            _kept.popitem()[1].close()
        _kept[job] = AnalyzePart(pickle.loads(job))
    return _kept[job]


def _told_of(ray: Any, done: Any, part: Part) -> dict[str, int]:  # noqa: ANN401  Ray's types are not strict
    """What the task ``done`` gave; an error of ours as it was raised, those of the cluster as one of ours."""
    try:
        return dict(ray.get(done))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, SdkError):
            raise cause from error
        raise RunFailed(
            f"{part.name} cannot be made on the cluster: {type(error).__name__}: {' '.join(str(error).split())}",
            remedy="look into the logs of Ray's workers, and run it again: what is done stays",
        ) from error


async def _body(request: Any, limit: int) -> bytes:  # noqa: ANN401  Starlette's
    """The body of a request, never more of it than may be analysed."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise LimitExceeded(f"the file has more than {limit:,} bytes", remedy="send a smaller one")
    return bytes(body)


def _told(found: Any) -> dict[str, object]:  # noqa: ANN401  an Analysis or an SdkError
    if isinstance(found, SdkError):
        return {"error": {"type": type(found).__name__, "problem": found.problem, "remedy": found.remedy}}
    return dict(found.to_dict())


def _module(name: str) -> Any:  # noqa: ANN401  Ray's types are not strict
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra("ray", extra="ray", purpose="work on a Ray cluster", why=str(error)) from error
