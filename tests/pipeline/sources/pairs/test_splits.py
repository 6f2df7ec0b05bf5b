"""Three ways to say which files are whose: folders, lists, seeded shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sources.pairs.splits import ListFile, Share
from shards.errors import SourceError

JPG = ("", (".jpg",))


def listed(folder: Path, text: str) -> ListFile:
    (folder / "train.txt").write_text(text, encoding="utf-8")
    return ListFile(folder / "train.txt", folder)


@pytest.mark.parametrize("line", ["a b", "a b.jpg", "sub/a b", "/sub/a b.JPG", "\ufeffa b"])
def test_a_line_names_a_stem_with_or_without_suffix_and_folders(line: str, tmp_path: Path) -> None:
    known = ["sub/a b"] if "sub" in line else ["a b"]
    assert listed(tmp_path, f"{line}\n\n# comment\n").stems([*known, "other"], JPG, "train") == known


def test_prefixes_are_left_out_and_names_that_no_file_has_stay(tmp_path: Path) -> None:
    found = listed(tmp_path, "img_1.jpg\n2\nabsent\n").stems(["1", "2", "3"], ("img_", (".jpg",)), "train")
    assert found == ["1", "2", "absent"]


def test_two_columns_are_paths_of_picture_and_partner(tmp_path: Path) -> None:
    rows = listed(tmp_path, "/train/a.png /annot/a_L.png\ntrain/b.png annot/b_L.png\n").path_pairs()
    assert rows == [("train/a", "train/a.png", "annot/a_L.png"), ("train/b", "train/b.png", "annot/b_L.png")]
    assert listed(tmp_path, "one name\nanother name\n").path_pairs() == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("x\ny\n", r"names none of the 2 pictures of split train, such as 'a'; its first line is 'x'"),
        ("../a.png b.png\n", "a path that leaves its folder"),
        ("a.png b.png\na.png c.png\n", "names 'a' twice"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(text: str, match: str, tmp_path: Path) -> None:
    chosen = listed(tmp_path, text)
    with pytest.raises(SourceError, match=match):
        chosen.path_pairs() or chosen.stems(["a", "b"], JPG, "train")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.txt: cannot be read as the list of a split"):
        ListFile(tmp_path / "none.txt", tmp_path).lines()


def test_shares_divide_all_names_by_the_seed_alone() -> None:
    names = [f"{k:03d}" for k in range(100)]
    train, val = Share(0, 0.9, 0).stems(names, JPG, "train"), Share(0.9, 1, 0).stems(names, JPG, "val")
    assert (len(train), len(val)) == (90, 10)
    assert sorted(train + val) == names
    assert val != names[-10:]
    assert Share(0.9, 1, 0).stems(names, JPG, "val") == val
    assert Share(0.9, 1, 1).stems(names, JPG, "val") != val
    with pytest.raises(SourceError, match=r"split val: 0\.01 of 3 pictures are none"):
        Share(0.99, 1, 0).stems(names[:3], JPG, "val")
