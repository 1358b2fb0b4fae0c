"""The back-fill on one machine: every row once, whatever stops it, and an error never costs a batch."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdk
from sdk import __main__ as cli
from sdk.errors import BadSetting, DecodeFailed
from sdk.integrations import backfill, commands, locks
from sdk.integrations.rows import COLUMNS, AnalyzeBatch
from tests.sdk.files import saved, scene

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


@pytest.fixture
def settings(toy_path) -> dict:
    return {"model": toy_path, "backend": "onnxruntime", "decode": "inline"}


@pytest.fixture
def files(rng) -> list[bytes]:
    return [saved(scene(rng, 70, 90), "PNG") for _ in range(5)]


def folder_of(path, files):
    path.mkdir(exist_ok=True)
    for number, data in enumerate(files):
        (path / f"{number}.png").write_bytes(data)
    return path


def filled(source, out, settings, **more) -> int:
    job, parts = backfill.planned(source, out, settings=settings, **more)
    return sum(each["rows"] for each in backfill.run(job, parts))


@pytest.fixture(scope="module")
def analyze(toy_path):
    made = AnalyzeBatch(settings={"model": toy_path, "backend": "onnxruntime", "decode": "inline"})
    yield made
    made.close()


@given(is_good=st.lists(st.booleans(), max_size=5))
def test_a_batch_has_a_row_for_each_row_and_errors_where_files_are_bad(analyze, is_good):
    rng = np.random.default_rng(1)
    values = [
        saved(scene(rng, 64, 64), "PNG") if good else [b"", b"junk", None][i % 3] for i, good in enumerate(is_good)
    ]
    batch = {"bytes": np.array([*values, None], object)[:-1], "id": np.arange(len(values))}
    found = analyze(batch)
    assert found.keys() == {"id", *COLUMNS}
    assert list(found["id"]) == list(range(len(values)))
    assert [error is None for error in found["error"]] == is_good
    assert [bool(np.isfinite(score)) for score in found["score"]] == is_good


def test_rows_say_what_the_analyzer_says(analyze, files, toy_path):
    found = analyze({"bytes": np.array(files, object)})
    with sdk.load(toy_path, backend="onnxruntime", decode="inline", threads=1) as analyzer:
        expected = [analyzer.analyze(data) for data in files]
    np.testing.assert_allclose(found["score"], [each.score for each in expected], rtol=1e-6)
    assert list(found["verdict"]) == [each.verdict.name for each in expected]
    assert [len(json.loads(each)) for each in found["regions"]] == [len(each.regions) for each in expected]


def test_a_batch_without_the_column_is_told_which_there_are(analyze):
    with pytest.raises(BadSetting, match=r"no column 'bytes'(.|\n)*name one of: image, id"):
        analyze({"image": np.array([]), "id": np.array([])})


def test_a_folder_becomes_parquet_and_its_growth_is_added(tmp_path, settings, files, monkeypatch):
    monkeypatch.setattr(backfill, "FILES", 2)
    source, out = folder_of(tmp_path / "photos", [*files[:4], b"no image"]), tmp_path / "results"
    assert filled(source, out, settings) == 5
    assert filled(source, out, settings) == 0
    folder_of(source, [*files[:4], b"no image", files[4]])
    assert filled(source, out, settings) == 1
    table = parquet.read_table(out)
    assert sorted(table["path"].to_pylist()) == [str(source / f"{number}.png") for number in range(6)]
    assert [row["path"][-5] for row in table.to_pylist() if row["error"]] == ["4"]
    assert len(list(out.glob("*.parquet"))) == 4


def test_results_within_the_source_are_not_analysed(tmp_path, settings, files):
    source = folder_of(tmp_path / "photos", files[:1])
    assert filled(source, source / "results", settings) == 1
    assert filled(source, source / "results", settings) == 0


def test_results_of_other_runs_and_overlays_within_the_source_are_not_analysed(tmp_path, settings, files):
    source = folder_of(tmp_path / "photos", files[:2])
    assert filled(source, source / "results", settings) == 2
    with sdk.load(**settings) as analyzer:
        analyzer.analyze(files[0]).save_overlay(source / "0.overlay.png")
    assert filled(source, source / "others", settings) == 2
    assert filled(source, tmp_path / "elsewhere", settings) == 2
    with pytest.raises(BadSetting, match="nothing to analyse"):
        filled(source / "results", tmp_path / "again", settings)


@pytest.mark.parametrize(("out", "how"), [("photos", "is"), (".", "holds"), ("photos/../photos", "is")])
def test_results_in_place_of_the_source_or_around_it_are_refused(tmp_path, settings, files, out, how):
    source = folder_of(tmp_path / "photos", files[:1])
    with pytest.raises(BadSetting, match=f"which {how} the source\n  -> name another folder"):
        filled(source, tmp_path / out, settings)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0.png", "photos"]


def test_what_cannot_be_a_source_or_a_folder_of_results_is_told_and_leaves_nothing(tmp_path, settings, files):
    source = folder_of(tmp_path / "photos", files[:1])
    with pytest.raises(BadSetting, match="it does not exist\n  -> check the path"):
        filled(tmp_path / "none", tmp_path / "out", settings)
    with pytest.raises(BadSetting, match=r"0\.png is no folder"):
        filled(source, source / "0.png", settings)
    assert not (tmp_path / "out").exists()


def test_what_is_no_parquet_is_told_and_what_has_become_one_does_not_mix(tmp_path, settings, files):
    source = folder_of(tmp_path / "photos", files[:1])
    filled(source, tmp_path / "out", settings)
    (source / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DecodeFailed, match=r"broken\.parquet is no whole Parquet file"):
        filled(source, tmp_path / "out", settings)
    parquet.write_table(arrow.table({"bytes": arrow.array(files[:1], arrow.binary())}), source / "broken.parquet")
    with pytest.raises(BadSetting, match="keep them in folders of their own"):
        filled(source, tmp_path / "out", settings)


def test_a_name_that_is_no_text_costs_no_other_row(tmp_path, settings, files):
    source = folder_of(tmp_path / "photos", files[:1])
    (source / os.fsdecode(b"\xff.png")).write_bytes(files[1])
    assert filled(source, tmp_path / "out", settings) == 2
    table = parquet.read_table(tmp_path / "out")
    assert sorted(Path(path).name for path in table["path"].to_pylist()) == ["0.png", "\\udcff.png"]
    assert table["error"].null_count == 2


def test_a_path_that_cannot_be_read_is_a_row_with_an_error(analyze, tmp_path):
    found = analyze({"bytes": np.array([str(tmp_path), f"{tmp_path}/\0", f"{tmp_path}/none"], object)})
    assert list(found["error_type"]) == ["DecodeFailed"] * 3


def test_a_parquet_keeps_its_columns_and_their_types(tmp_path, settings, files):
    ids, scores = arrow.array([10, None, 30], arrow.int32()), arrow.array(["a", "b", "c"])
    columns = {"id": ids, "score": scores, "photo": arrow.array([files[0], None, files[1]], arrow.binary())}
    parquet.write_table(arrow.table(columns), tmp_path / "in.parquet", row_group_size=2)
    assert filled(tmp_path / "in.parquet", tmp_path / "out", settings, column="photo") == 3
    table = parquet.read_table(tmp_path / "out")
    assert (table["id"].type, table["id"].to_pylist()) == (arrow.int32(), [10, None, 30])
    assert (table["score"].type, table["score"].null_count) == (arrow.float64(), 1)
    assert table["error_type"].to_pylist() == [None, "BadSetting", None]


def test_results_of_other_settings_are_not_mixed(tmp_path, settings, files):
    source = folder_of(tmp_path / "photos", files[:1])
    filled(source, tmp_path / "out", settings)
    with pytest.raises(BadSetting, match="made with another settings"):
        filled(source, tmp_path / "out", {**settings, "working_size": 64})
    assert filled(source, tmp_path / "out", {**settings, "threads": 2}) == 0


def test_a_source_with_nothing_in_it_is_told(tmp_path, settings):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSetting, match="nothing to analyse"):
        filled(tmp_path / "empty", tmp_path / "out", settings)


def test_job_and_parts_travel(tmp_path, settings, files):
    job, parts = backfill.planned(folder_of(tmp_path / "photos", files), tmp_path / "out", settings=settings)
    assert pickle.loads(pickle.dumps((job, parts))) == (job, parts)


def test_killed_at_any_moment_every_row_is_there_once_in_the_end(tmp_path, toy_path, files):
    table = arrow.table({"id": arrow.array(range(40)), "bytes": arrow.array(files * 8, arrow.binary())})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    out, options = tmp_path / "out", ["--model", toy_path, "--decode", "inline"]
    command = [str(part) for part in (sys.executable, "-m", "sdk", "backfill", tmp_path / "in.parquet", out, *options)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(out.glob("*.parquet"))) < 3 and first.poll() is None:
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    between = len(list(out.glob("*.parquet")))
    assert cli.main(command[3:]) == 0
    assert 3 <= between < len(list(out.glob("*.parquet"))) == 20
    assert sorted(parquet.read_table(out)["id"].to_pylist()) == list(range(40))


def test_the_verb_tells_how_many_rows(tmp_path, toy_path, files, capsys):
    source = folder_of(tmp_path / "photos", [*files[:2], b"no image"])
    command = ["backfill", str(source), str(tmp_path / "out"), "--model", str(toy_path)]
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out) == {"parts": 1, "rows": 3, "failed": 1}
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out) == {"parts": 0, "rows": 0, "failed": 0}


@pytest.mark.parametrize(
    ("more", "threads"), [(["--ray", "auto"], 1), (["--ray", "auto", "--threads", "2"], 2), ([], None)], ids=str
)
def test_a_process_on_a_cluster_takes_one_cpu_unless_it_is_given_more(
    tmp_path, toy_path, files, monkeypatch, more, threads
):
    given = []

    def run(job, parts, **_: object):
        given.append(job.settings["threads"])
        return []

    monkeypatch.setattr(backfill, "run", run)
    monkeypatch.setattr(commands, "_on_ray", run)
    monkeypatch.setattr(commands, "_ray", lambda: None)
    source = folder_of(tmp_path / "photos", files[:1])
    assert cli.main(["backfill", str(source), str(tmp_path / "out"), "--model", str(toy_path), *more]) == 0
    assert given == [threads]


def test_two_runs_do_not_cut_the_source_at_once(tmp_path, settings, files, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_S", 0.0)
    source, out = folder_of(tmp_path / "photos", files[:1]), tmp_path / "out"
    cut = backfill._cut

    def meanwhile(*arguments):
        monkeypatch.setattr(backfill, "_cut", cut)
        with pytest.raises(BadSetting, match=r"another run is cutting(.|\n)*run it again"):
            backfill.planned(source, out, settings=settings)
        return cut(*arguments)

    monkeypatch.setattr(backfill, "_cut", meanwhile)
    assert filled(source, out, settings) == 1


def test_what_killed_runs_left_is_removed_and_what_another_writes_is_not(tmp_path, settings, files):
    source, out = folder_of(tmp_path / "photos", files[:1]), tmp_path / "out"
    out.mkdir()
    left, fresh = out / ".part-000000.a.part", out / ".part-000000.b.part"
    for file in (left, fresh):
        file.write_bytes(b"PAR1")
    os.utime(left, times=(0, 0))
    assert filled(source, out, settings) == 1
    assert (left.exists(), fresh.exists()) == (False, True)


@pytest.mark.parametrize("text", ["{", "[]", '{"how": []}', '{"parts": []}'])
def test_a_plan_that_is_none_is_told(tmp_path, settings, files, text):
    source, out = folder_of(tmp_path / "photos", files[:1]), tmp_path / "out"
    out.mkdir()
    (out / backfill.PLAN).write_text(text)
    with pytest.raises(BadSetting, match=r"_plan\.json is no plan of a back-fill"):
        filled(source, out, settings)


def test_paths_that_are_all_missing_in_a_batch_are_a_column_still(tmp_path, settings, files):
    (tmp_path / "0.png").write_bytes(files[0])
    paths = [*[None] * backfill.BATCH, str(tmp_path / "0.png"), *[None] * backfill.BATCH]
    table = arrow.table({"photo": arrow.array(paths, arrow.string())})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=backfill.BATCH + 1)
    assert filled(tmp_path / "in.parquet", tmp_path / "out", settings, column="photo") == len(paths)
    found = parquet.read_table(tmp_path / "out")
    assert found["photo"].type == arrow.string()
    assert sorted(found["photo"].to_pylist(), key=str) == sorted(paths, key=str)
    assert found["score"].null_count == len(paths) - 1
