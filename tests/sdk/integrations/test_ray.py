"""A back-fill on a Ray cluster that loses a node, and a deployment that batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.sdk.files import saved, scene

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pytest.importorskip("ray", reason="ray is not installed")

ROWS, BROKEN = 48, 7
QUIET = {
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "240",  # where the machine is starved
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
    done = subprocess.run(
        [str(part) for part in command], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"table": parquet.read_table(out)}


@pytest.mark.slow
def test_a_node_dies_on_the_way_and_every_row_is_there_once(told):
    happened, table = told["backfill"], told["table"]
    assert told["alive"] == 2
    assert 2 <= happened["killed_after"] < happened["parts"] == ROWS // 2
    assert happened["left"] == 0
    assert sorted(table["upload"].to_pylist()) == list(range(ROWS))


@pytest.mark.slow
def test_a_corrupt_file_is_a_row_with_an_error_and_costs_no_other(told):
    failed = [row for row in told["table"].to_pylist() if row["error"]]
    assert [(row["upload"], row["error_type"]) for row in failed] == [(BROKEN, "UnsupportedImage")]
    assert told["table"]["score"].null_count == 1
    assert "bytes" not in told["table"].schema.names


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
