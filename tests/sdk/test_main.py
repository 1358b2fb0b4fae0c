"""The command line: lines for machines, words for people, and an exit code that answers."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sdk import __main__ as cli
from sdk import artifact
from tests.sdk import toy
from tests.sdk.files import scene


@pytest.fixture
def photographs(tmp_path, rng) -> Path:
    """Folder with two frames without evidence, one that the toy takes for manipulated, and one that is no image."""
    folder = tmp_path / "photographs"
    (folder / "deep").mkdir(parents=True)
    for name, low, high in (("a.png", 0, 200), ("b.png", 200, 250), ("deep/a.jpg", 0, 200)):
        Image.fromarray(scene(rng, 70, 80, low=low, high=high)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (folder / "notes.txt").write_text("not an image's suffix")
    return folder


@pytest.fixture
def imdl(toy_path, capsys):
    def run(verb: str, *arguments: object) -> tuple[int, list[str], str]:
        options = ["--model", str(toy_path)] if verb in ("analyze", "demo", "doctor") else []
        status = cli.main([verb, *map(str, arguments), *options])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return run


@pytest.mark.parametrize(
    ("names", "status"),
    [(["a.png"], 0), (["a.png", "b.png"], 1), (["b.png", "broken.jpg", "a.png"], 2), (["nothing.png"], 2)],
    ids=str,
)
def test_the_exit_code_is_the_answer(imdl, photographs, names, status):
    answer, lines, _ = imdl("analyze", *(photographs / name for name in names))
    assert answer == status
    assert [line.split("\t")[2] for line in lines] == [str(photographs / name) for name in names]


def test_a_folder_is_its_images_and_a_glob_is_expanded(imdl, photographs):
    _, lines, _ = imdl("analyze", photographs)
    assert [line.split("\t")[0] for line in lines] == ["no_evidence", "manipulated", "failed", "no_evidence"]
    _, lines, _ = imdl("analyze", f"{photographs}/**/a.*")
    assert [Path(line.split("\t")[2]).name for line in lines] == ["a.png", "a.jpg"]


def test_a_name_forges_no_line_and_moves_no_terminal(imdl, photographs):
    hostile = photographs / "a\nmanipulated\t1.000\t\x1b[2Jb.png"
    (photographs / "b.png").rename(hostile)
    _, lines, words = imdl("analyze", hostile, hostile.with_name("x\x1b[2J.png"))
    assert len(lines) == 2
    assert lines[0].endswith(r"a\nmanipulated\t1.000\t\x1b[2Jb.png")
    assert "\x1b" not in "".join(lines) + words


def test_a_glob_walks_into_folders_and_names_no_file_twice(imdl, photographs):
    for pattern in ("*", "**", "**/*"):
        _, lines, _ = imdl("analyze", f"{photographs}/{pattern}")
        names = [line.split("\t")[2] for line in lines]
        assert str(photographs / "deep" / "a.jpg") in names
        assert str(photographs / "deep") not in names
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["empty", "words", "*/"])
def test_a_folder_without_images_is_a_failure_with_a_remedy(imdl, tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("not an image's suffix")
    status, lines, words = imdl("analyze", tmp_path / name)
    assert (status, lines) == (2, [f"failed\t-\t{tmp_path / name}"])
    assert "\n  -> " in words
    assert name == "*/" or "a folder without images\n  -> name the files, or give them a suffix that is known" in words


def test_a_name_that_is_no_text_leaves_as_it_came(toy_path, photographs, repository):
    name = os.fsencode(photographs) + b"/caf\xe9.png"
    (photographs / "a.png").rename(os.fsdecode(name))
    command = [sys.executable, "-m", "sdk", "analyze", name, photographs / "broken.jpg", "--model", toy_path]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as in most locales, but not in C
    done = subprocess.run(command, cwd=repository, capture_output=True, check=False, env=strict)
    assert done.stdout.splitlines()[0].endswith(b"\t" + name)
    assert done.returncode == 2
    done = subprocess.run([*command, "--json"], cwd=repository, capture_output=True, check=False, env=strict)
    assert os.fsencode(json.loads(done.stdout.splitlines()[0])["path"]) == name


def test_an_overlay_that_cannot_be_written_fails_its_file_alone(imdl, photographs, tmp_path):
    long = photographs / f"{'a' * 230}.png"
    (photographs / "a.png").rename(long)
    missing = photographs / ("b" * 300)
    status, lines, _ = imdl("analyze", long, missing, photographs / "b.png", "--json", "--save", tmp_path / "overlays")
    assert status == 2
    first, second, last = map(json.loads, lines)
    assert first["error"]["problem"].startswith("the overlay cannot be written: [Errno 36] File name too long")
    assert second["error"]["problem"].endswith("cannot be opened: File name too long")
    assert Path(last["overlay"]).is_file()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_answer(toy_path, photographs, repository, closed):
    command = shlex.join([sys.executable, "-m", "sdk", "analyze", str(photographs / "a.png"), "--model", str(toy_path)])
    done = subprocess.run(
        f"exec {command} {closed}", shell=True, cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.count("\n") == (0 if ">&-" in closed.replace("2>&-", "") else 1)
    assert "Traceback" not in done.stderr


def test_a_reader_who_leaves_gets_no_trace(repository):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sdk", "models"]
    with open(writer, "w") as nobody:  # noqa: PTH123  a descriptor
        done = subprocess.run(
            command, cwd=repository, stdout=nobody, stderr=subprocess.PIPE, check=False, env=environment
        )
    assert (done.returncode, done.stderr) == (2, b"")


def test_what_is_skipped_is_told_and_overlays_are_not_analysed_again(imdl, photographs):
    told = "skipped 1 file: .txt (1)\n"
    _, first, words = imdl("analyze", photographs, "--save", photographs / "deep")
    assert words.endswith(told)
    assert len(list(photographs.rglob("*.overlay.png"))) == 3
    _, second, words = imdl("analyze", photographs)
    assert second == first
    assert words.endswith("skipped 4 files: overlay that imdl wrote (3), .txt (1)\n")
    _, lines, words = imdl("analyze", *photographs.rglob("*.overlay.png"), photographs / "a.png")
    assert [line.split("\t")[2] for line in lines] == [str(photographs / "a.png")]
    assert words.endswith("skipped 3 files: overlay that imdl wrote (3)\n")
    assert "skipped" not in imdl("analyze", photographs / "a.png")[2]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            ["--max-pixels", 5599],
            "-> if it is trusted, raise it: --max-pixels ",
        ),
        (["--max-bytes", 9], "over the limit bytes=9\n  -> if it is trusted, raise it: --max-bytes"),
        (
            ["--max-seconds", 1e-9],
            "took longer than the limit seconds=1e-09\n  -> if it is trusted, raise it: --max-sec",
        ),
        (["--max-frames", 0], "--max-frames 0 lets no file pass\n  -> give a number above 0"),
        (["--working-size", "abc"], "--working-size is 'abc'\n  -> give the long side in px, or native"),
        (["--working-size", 5], "--working-size is 5\n  -> give px from 32 up"),
        (["--threads", 10**9], "threads is 1000000000\n  -> give 1 to 512, or leave it out"),
        (["--decode", "none"], "no way of decoding named 'none'\n  -> "),
        (["--backend", "none"], "no backend named 'none'"),
    ],
    ids=str,
)
def test_what_an_option_refuses_is_said_in_its_words(imdl, photographs, option, words):
    status, lines, said = imdl("analyze", photographs / "a.png", *option)
    assert (status, [line.split("\t")[0] for line in lines]) in [(2, ["failed"]), (2, [])]
    assert words in said
    assert "Limits(" not in said


def test_a_raised_limit_lets_a_file_pass(imdl, photographs):
    pages = [Image.open(photographs / name) for name in ("a.png", "b.png")]
    pages[0].save(photographs / "pages.tif", save_all=True, append_images=pages[1:])
    assert imdl("analyze", photographs / "pages.tif")[0] == 2
    assert imdl("analyze", photographs / "pages.tif", "--max-frames", 2)[0] == 0


def test_all_models_have_no_one_backend(photographs, capsys):
    assert cli.main(["analyze", str(photographs), "--model", "all", "--backend", "openvino"]) == 2
    assert "--backend is of one model, not of all\n  -> leave it out" in capsys.readouterr().err


def test_ctrl_c_ends_it_without_a_trace(imdl, photographs, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sdk.analyzer.Analyzer.analyze", interrupted)
    assert imdl("analyze", photographs)[0] == 130


def test_people_are_told_on_stderr(imdl, photographs):
    _, lines, words = imdl("analyze", photographs / "broken.jpg")
    assert "PREVIEW weights" in words
    assert words.count("broken.jpg") == 1
    assert "\n  -> " in words
    assert not any("->" in line for line in lines)


def test_why_a_file_is_inconclusive_is_told(imdl, photographs):
    status, lines, words = imdl("analyze", photographs / "a.png", "--working-size", 48)
    assert (status, lines[0].split("\t")[0]) == (0, "inconclusive")
    assert f"{photographs / 'a.png'}: accuracy at working size 48 was not measured" in words


def test_json_has_a_line_for_every_file_failed_ones_too(imdl, photographs, tmp_path):
    status, lines, _ = imdl("analyze", photographs, "--json", "--save", tmp_path / "overlays")
    assert status == 2
    found = [json.loads(line) for line in lines]
    assert [Path(line["path"]).name for line in found] == ["a.png", "b.png", "broken.jpg", "a.jpg"]
    assert set(found[2]["error"]) == {"type", "problem", "remedy"}
    saved = {line["overlay"] for line in found if "overlay" in line}
    assert len(saved) == 3
    assert all(Path(path).is_file() for path in saved)


def test_options_are_those_of_load(imdl, photographs):
    _, lines, _ = imdl(
        "analyze", photographs / "a.png", "--json", "--working-size", 64, "--min-score", 0.9, "--precision", "f32"
    )
    (found,) = map(json.loads, lines)
    assert found["runtime"]["working_size"] == 64
    assert found["localised"] is False
    _, lines, _ = imdl("analyze", photographs / "a.png", "--json", "--working-size", "native")
    assert json.loads(lines[0])["runtime"]["working_size"] == 0


def test_a_mistake_is_answered_not_traced(imdl, photographs, tmp_path):
    status, lines, words = imdl("analyze", photographs, "--device", "gpu")
    assert (status, lines) == (2, [])
    assert "no device named 'gpu'" in words
    (tmp_path / "file").write_text("in the way")
    status, lines, words = imdl("analyze", photographs / "a.png", "--save", tmp_path / "file")
    assert (status, lines) == (2, [])
    assert (
        words == f"the folder {tmp_path / 'file'} cannot be made: File exists\n  -> name another folder: --save DIR\n"
    )


def test_a_progress_bar_is_for_terminals(photographs):
    paths = [Path("a"), Path("b")]
    quiet, terminal = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True
    assert list(cli.progress(paths, quiet)) == list(cli.progress(paths, terminal)) == paths
    assert quiet.getvalue() == ""
    assert "1/2 b" in terminal.getvalue()


def test_doctor_answers(imdl):
    status, lines, words = imdl("doctor")
    assert (status, words) == (0, "")
    assert lines[-1].startswith("chosen: ")


def test_models_are_listed_and_verified(imdl, toy_path, monkeypatch):
    monkeypatch.setattr(artifact, "SHIPPED", toy_path.parent)
    assert imdl("models") == (0, ["toy\t0.1\tpreview\tApache-2.0, commercial use allowed"], "")
    status, lines, _ = imdl("models", "verify")
    assert (status, lines) == (0, [f"toy\t0.1\tverified\t{artifact.read(toy_path).digest}"])


def test_a_model_that_is_not_there_is_not_called_damaged(imdl, tmp_path):
    status, lines, words = imdl("models", "verify", "nope")
    assert (status, lines) == (2, ["nope\tno such artifact"])
    assert words == f"no model named 'nope'\n  -> choose one of: {', '.join(artifact.names())}\n"
    status, lines, words = imdl("models", "verify", tmp_path)
    assert (status, lines) == (2, [f"{tmp_path}\tno such artifact"])
    assert "\n  -> choose one of: " in words


def test_a_damaged_model_is_found(imdl, tmp_path):
    (tmp_path / "contract.json").write_text("{}")
    status, lines, words = imdl("models", "verify", tmp_path)
    assert (status, lines) == (2, [f"{tmp_path}\tdamaged"])
    assert "schema version None" in words


def test_inconclusive_is_not_right(tmp_path, capsys):
    unsure = toy.build(tmp_path / "toy", minimum_side=10_000)
    assert cli.main(["demo", "--model", str(unsure), "--save", str(tmp_path / "overlays")]) == 0
    assert "\n0 of 8 right" in capsys.readouterr().err


def test_help_is_the_docstrings(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    said = capsys.readouterr().out
    for verb in (cli.analyze, cli.demo, cli.doctor, cli.models):
        assert " ".join(verb.__doc__.split("\n")[0].split()[:4]) in " ".join(said.split())
