"""A back-fill on a Ray cluster that loses a node, and a deployment that batches."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdk.errors import ArtifactInvalid, RunFailed
from sdk.integrations import ray as on_ray
from sdk.integrations.backfill import Job, Part
from tests.sdk.files import saved, scene

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pytest.importorskip("ray", reason="ray is not installed")

ROWS, BROKEN = 48, 7
LIMIT = 240
"""Seconds for the process with the cluster, which ends itself before."""
QUIET = {
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",  # where the machine is starved
}


@pytest.fixture(scope="module")
def told(toy_path, repository, tmp_path_factory) -> dict:
    """What happened on the cluster, and the table of results."""
    folder = tmp_path_factory.mktemp("ray")
    rng = np.random.default_rng(3)
    files = [saved(scene(rng, 70, 90), "PNG") for _ in range(ROWS)]
    files[BROKEN] = b"no image"
    source, out = folder / "uploads.parquet", folder / "results"
    table = arrow.table({"upload": arrow.array(range(ROWS)), "bytes": arrow.array(files, arrow.binary())})
    parquet.write_table(table, source, row_group_size=2)
    (folder / "serving").mkdir()
    for number, data in enumerate([*files[:4], files[0], b"no image"]):
        (folder / "serving" / f"{number}").write_bytes(data)
    command = [sys.executable, "-m", "tests.sdk.integrations.ray_cluster", toy_path, source, out]
    environment = os.environ | QUIET | {"PYTHONPATH": str(repository), "HOME": str(folder)}
    said = ended([str(part) for part in command], folder=folder, cwd=repository, env=environment)
    return json.loads(said.splitlines()[-1]) | {"table": parquet.read_table(out)}


def ended(command: list[str], *, folder: Path, **options) -> str:
    """What ``command`` wrote; whatever becomes of it, nothing of its cluster is left."""
    with (
        (folder / "out").open("w+b") as said,
        (folder / "err").open("w+b") as why,
    ):  # no pipes: Ray's processes keep them
        running = subprocess.Popen(command, stdout=said, stderr=why, start_new_session=True, **options)
        try:
            status = running.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = f"none after {LIMIT} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    assert status == 0, f"exit code {status}: {(folder / 'err').read_text()[-4000:]}"
    return (folder / "out").read_text()


@pytest.mark.slow
def test_a_node_dies_on_the_way_and_every_row_is_there_once(told):
    happened, table = told["backfill"], told["table"]
    assert told["alive"] == 2
    assert 2 <= happened["killed_after"] < ROWS // 2
    assert happened["first"] == {"parts": ROWS // 2, "rows": ROWS, "failed": 1}
    assert happened["again"] == {"parts": 0, "rows": 0, "failed": 0}
    assert sorted(table["upload"].to_pylist()) == list(range(ROWS))


@pytest.mark.slow
def test_a_corrupt_file_is_a_row_with_an_error_and_costs_no_other(told):
    failed = [row for row in told["table"].to_pylist() if row["error"]]
    assert [(row["upload"], row["error_type"]) for row in failed] == [(BROKEN, "UnsupportedImage")]
    assert told["table"]["score"].null_count == 1
    assert "bytes" not in told["table"].schema.names


@pytest.mark.slow
def test_a_dataset_is_mapped_row_by_row_and_loses_none_to_a_corrupt_one(told):
    rows = sorted(told["mapped"], key=lambda row: row["upload"])
    assert [row["upload"] for row in rows] == list(range(4, 12))
    assert [(row["upload"], row["error_type"]) for row in rows if row["error"]] == [(BROKEN, "UnsupportedImage")]
    filled = {row["upload"]: row for row in told["table"].to_pylist()}
    for row in rows:
        if row["upload"] != BROKEN:
            assert {name: row[name] for name in filled[0]} == filled[row["upload"]]
    assert "bytes" not in rows[0]


@pytest.mark.slow
def test_the_deployment_batches_requests_and_answers_each_with_its_own(told):
    served = told["serve"]
    assert max(served["batches"]) > 1
    assert len(served["batches"]) == 5
    assert len(served["errors"]) == 1
    assert served["scores"][0] == pytest.approx(served["scores"][4])
    (good, score, none), (bad, no_score, error) = served["http"]
    assert (good, none, bad, no_score) == (200, None, 422, None)
    assert score == pytest.approx(served["scores"][0])
    assert error == served["errors"][0]


class Crashing:
    """What of Ray the back-fill uses, on a cluster where every task ends with ``error``."""

    def __init__(self, error: Exception) -> None:
        import ray

        self.error, self.options, self.exceptions = error, {}, ray.exceptions

    def remote(self, *arguments, **options):
        self.options |= options
        return "task" if arguments else lambda task: self

    def wait(self, tasks: list) -> tuple[list, list]:
        return tasks, []

    def get(self, task):
        raise self.error


def test_a_part_that_kills_its_process_ends_with_its_name_and_errors_of_ours_stay(monkeypatch, tmp_path):
    from ray.exceptions import RayTaskError, WorkerCrashedError

    ours = RayTaskError("made", "traceback", ArtifactInvalid("no such model", remedy="name one"))
    job, parts = Job(out=str(tmp_path), column="bytes", settings={}), [Part(name="part-000007")]
    expected = [
        (WorkerCrashedError(), RunFailed, r"part-000007 cannot be made .*WorkerCrashedError"),
        (ours, ArtifactInvalid, "no such model"),
        (ours.as_instanceof_cause(), ArtifactInvalid, "no such model"),
    ]
    for error, kind, words in expected:
        cluster = Crashing(error)
        monkeypatch.setattr(on_ray, "_module", lambda name, cluster=cluster: cluster)
        with pytest.raises(kind, match=words):
            list(on_ray.run(job, parts, workers=1))
        assert cluster.options["max_retries"] >= 0  # Ray takes less for no bound


def test_a_process_that_takes_another_job_releases_the_first(monkeypatch):
    closed = []

    class Made:
        def __init__(self, job: str) -> None:
            self.job = job

        def close(self) -> None:
            closed.append(self.job)

    monkeypatch.setattr(on_ray, "AnalyzePart", Made)
    monkeypatch.setattr(on_ray, "_kept", {})
    first, second = pickle.dumps("first"), pickle.dumps("second")
    assert on_ray._maker(first) is on_ray._maker(first)
    assert on_ray._maker(second).job == "second"
    assert closed == ["first"]
