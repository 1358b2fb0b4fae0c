"""Which files an argument stands for, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdk.errors import UnsupportedImage
from sdk.paths import SUFFIXES_TOLD, Skipped, check_not_a_folder, expand, images, overlay_path, shown


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_name_moves_nothing_on_a_terminal():
    assert shown("a\n\x1b[31m\x9b\u202eb.jpg") == r"a\n\x1b[31m\x9b\u202eb.jpg"
    assert shown("two\nlines\r", lines=True) == "two\nlines\\r"
    for name in ("photo (1).jpg", "\u5199\u771f\u3000\u4e00.jpg", "\udcff.jpg", "a\\b.jpg"):
        assert shown(name) == name


def test_a_folder_is_its_images_and_the_rest_is_counted(tmp_path):
    touch(*(tmp_path / name for name in ("b.JPG", "a/c.png", "README", "a/notes.txt", "more.TXT", "clip.mov")))
    skipped = Skipped()
    assert images(tmp_path, skipped) == [tmp_path / "a/c.png", tmp_path / "b.JPG"]
    assert str(skipped) == "skipped 4 files: .txt (2), no suffix (1), .mov (1)" or skipped == {
        ".txt": 2, "no suffix": 1, ".mov": 1,
    }  # fmt: skip


def test_what_was_skipped_is_one_short_sentence():
    assert str(Skipped()) == ""
    assert str(Skipped({".mov": 1})) == "skipped 1 file: .mov (1)"
    many = Skipped({f".{number}": 1000 for number in range(SUFFIXES_TOLD + 1)})
    assert str(many).startswith("skipped 9,000 files: .0 (1000), ")
    assert str(many).endswith(", others")


def test_links_to_folders_are_told_and_not_followed(tmp_path):
    touch(tmp_path / "a/b.png")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "linked.png").symlink_to(tmp_path / "a/b.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing")
    skipped = Skipped()
    assert images(tmp_path, skipped) == [tmp_path / "a/b.png", tmp_path / "linked.png"]
    assert skipped == {"link to a folder": 1, ".png": 1}


def test_a_glob_that_runs_in_circles_names_every_file_once(tmp_path, monkeypatch):
    touch(tmp_path / "a/b.png", tmp_path / "a/z.png")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/linked.png").symlink_to(tmp_path / "a/b.png")
    names = [tmp_path / "a" / name for name in ("b.png", "linked.png", "z.png")]
    assert sorted(expand([f"{tmp_path}/**/*.png"], Skipped())) == names
    monkeypatch.chdir(tmp_path)
    assert expand(["a/b.png", "./a/b.png", str(tmp_path / "a/b.png")], Skipped()) == [Path("a/b.png")]


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    touch(tmp_path / "a.png", tmp_path / "closed/b.png")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    skipped = Skipped()
    assert images(tmp_path, skipped) == [tmp_path / "a.png"]
    assert skipped == {f"cannot be read: {tmp_path / 'closed'}": 1}


def test_no_file_stands_twice_and_none_is_lost(tmp_path):
    touch(tmp_path / "a.png", tmp_path / "b.txt")
    named = [str(tmp_path), str(tmp_path / "a.png"), str(tmp_path / "b.txt"), str(tmp_path / "*.gif")]
    assert expand(named, Skipped()) == [tmp_path / "a.png", tmp_path / "b.txt", tmp_path / "*.gif"]


def test_a_folder_is_refused(tmp_path):
    check_not_a_folder(tmp_path / "nothing")
    with pytest.raises(UnsupportedImage, match="is a folder without images\n  -> name the files"):
        check_not_a_folder(tmp_path)


def test_overlays_of_different_files_have_different_names():
    paths = ["a.jpg", "a-b/c.jpg", "a/b-c.jpg", "a/b/c.jpg", "a-b-c.jpg", "../a.jpg", "/a.jpg", "../../a.jpg"]
    names = {overlay_path(Path("out"), Path(path)) for path in paths}
    assert len(names) == len(paths)
    assert {name.parent for name in names} == {Path("out")}
    assert Path("out/a.jpg.overlay.png") in names
