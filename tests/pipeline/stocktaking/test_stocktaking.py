"""A folder against a description: counts, names that a dataset gives itself, sizes, links, and the words about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.stocktaking import names
from pipeline.stocktaking.facts import Archive, Dataset, Mirror, Part, by_instances, by_list, counted
from pipeline.stocktaking.look import Stock, take_stock
from pipeline.stocktaking.words import in_words
from shards.errors import ConfigError


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def stock_of(root: Path, *parts: Part, form: str = "", **other: tuple[Part, ...]) -> Stock:
    dataset = Dataset(
        title="Toys",
        page="https://example.org",
        terms="none",
        folder="toys",
        builds=("toys",),
        forms={"first": parts, **other},
        archives=(Archive("toys.zip", "https://example.org/toys.zip", "3 bytes", "sha1 ab"),),
        mirrors=(Mirror("https://example.net", "a copy", "2026-01"), Mirror("https://example.com", "rows")),
        notes=("a trap",),
    )
    return take_stock("toys", dataset, root, form)


def test_files_are_counted_by_pattern_and_folders_and_dead_links_are_none(tmp_path: Path) -> None:
    part = Part("pictures/*/*.png", "pictures", 3)
    touch(
        tmp_path, "pictures/a/1.png", "pictures/a/2.png", "pictures/a/notes.txt", "pictures/4.png", "pictures/a/b/5.png"
    )
    (tmp_path / "pictures/a/folder.png").mkdir()
    (tmp_path / "pictures/a/dead.png").symlink_to(tmp_path / "nowhere.png")
    (found,) = stock_of(tmp_path, part).found
    assert (found.files, found.expected, found.whole) == (2, 3, False)
    (tmp_path / "nowhere.png").touch()
    (found,) = stock_of(tmp_path, part).found
    assert found.whole
    assert not stock_of(tmp_path, part).lacking


def test_what_the_dataset_names_is_looked_for_by_name(tmp_path: Path) -> None:
    part = Part("pictures/*.png", "pictures", 3, named=counted("pictures/%02d.png", 3))
    touch(tmp_path, "pictures/01.png", "pictures/03.png", "pictures/99.png")
    (found,) = stock_of(tmp_path, part).found
    assert (found.files, found.expected, found.missing) == (2, 3, ("pictures/02.png",))


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("list.txt", None, "cannot be told one by one without list.txt"),
        ("list.txt", b"/a/1.jpg\n", "list.txt line 1 has no column 2"),
        ("list.txt", b"\xff\xfe", "list.txt is no text"),
        ("list.txt", b"/a/1.jpg /a/1.png 518.8\n", "the dataset names 1, published are 2"),
        ("list.txt", b"/a/1.jpg /a/1.png\n\n/a/2.jpg a/2.png\n", ""),
        ("all.json", b'{"images": [', "all.json is not a whole COCO annotation file"),
        ("all.json", b'{"annotations": []}', "all.json is not a whole COCO annotation file (KeyError"),
        ("all.json", json.dumps({"images": [{"file_name": "1.png"}, {"file_name": "2.png"}]}).encode(), ""),
    ],
)
def test_names_come_from_lists_and_annotation_files(
    tmp_path: Path, file: str, content: bytes | None, fault: str
) -> None:
    named = by_list(file, "depth", 1) if file == "list.txt" else by_instances(file, "depth/a")
    touch(tmp_path, "depth/a/1.png", "depth/a/2.png")
    if content is not None:
        (tmp_path / file).write_bytes(content)
    (found,) = stock_of(tmp_path, Part("depth/a/*.png", "depth", 2, named=named)).found
    assert found.whole is not bool(fault)
    assert found.fault.startswith(fault)


def test_a_file_of_another_size_is_not_whole(tmp_path: Path) -> None:
    part = Part("all.mat", "frames", size_bytes=7)
    (tmp_path / "all.mat").write_bytes(b"short")
    (found,) = stock_of(tmp_path, part).found
    assert (found.whole, found.fault) == (False, "has 5 bytes, published are 7")
    (tmp_path / "all.mat").write_bytes(b"as long")
    assert not stock_of(tmp_path, part).lacking


def test_the_folder_of_the_usual_name_is_taken_where_there_is_one(tmp_path: Path) -> None:
    part = Part("a.txt", "text")
    touch(tmp_path, "a.txt")
    assert stock_of(tmp_path, part).root == tmp_path
    touch(tmp_path, "toys/b.txt")
    assert stock_of(tmp_path, part).root == tmp_path / "toys"
    assert stock_of(tmp_path, part).lacking


def test_a_form_is_chosen_by_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "b.txt")
    parts = (Part("a.txt", "text"),)
    assert stock_of(tmp_path, *parts, other=(Part("b.txt", "text"),)).lacking
    assert not stock_of(tmp_path, *parts, other=(Part("b.txt", "text"),), form="other").lacking
    with pytest.raises(ConfigError, match="form is 'third', and toys has first, other"):
        stock_of(tmp_path, *parts, other=parts, form="third")


def test_the_words_name_the_official_page_before_mirrors_and_only_where_something_is_missing(tmp_path: Path) -> None:
    needed = Part("a.txt", "text", archive="toys.zip")
    spare = Part("b.txt", "more", archive="toys.zip", without="nothing is lost")
    lines = list(in_words(stock_of(tmp_path, needed, spare)))
    assert lines[:2] == ["toys: Toys", f"  looked in {tmp_path} for configs/build/toys.yaml"]
    assert "  MISSING a.txt  text" in lines
    assert lines[lines.index("  without b.txt  more") + 1].strip() == "nothing is lost"
    where = lines[lines.index("  terms: none") + 1 :]
    assert where == [
        "  official page: https://example.org",
        "  archive: toys.zip from https://example.org/toys.zip (3 bytes, sha1 ab)",
        "  mirror, not the publisher's: https://example.net (a copy; worked in 2026-01)",
        "  mirror, not the publisher's: https://example.com (rows; not known whether it works)",
        "  note: a trap",
        "  nothing is downloaded by this command",
    ]
    touch(tmp_path, "a.txt", "b.txt")
    assert list(in_words(stock_of(tmp_path, needed, spare)))[-1] == "  terms: none"
    assert not stock_of(tmp_path, needed, spare).lacking


def test_an_unknown_dataset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no dataset 'refcok' is described\. Did you mean 'refcoco"):
        names.described("refcok")
    assert names.described("RefCOCO+").title == names.described("refcoco_plus").title
