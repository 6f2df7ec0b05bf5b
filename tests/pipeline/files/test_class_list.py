"""One reader of class lists: every form, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.files.class_list import ClassList, class_list, read_class_list
from shards.errors import ConfigError, SourceError

COLOURED = ClassList(("background", "dining table"), ((0, 0, 0), (128, 64, 0)))


def written(folder: Path, text: str, name: str = "classes.txt") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("classes.txt", "\ufeff# order of the values\r\nsound\r\n\r\n crack \r\n", ClassList(("sound", "crack"))),
        ("classes.txt", "wall, brick\n2024\noff\n", ClassList(("wall, brick", "2024", "off"))),
        ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\ndining table,128,64,0\n", COLOURED),
        ("class_dict.csv", "\ufeffName, R, G, B\nbackground, 0, 0, 0\n\"dining table\", 128, 64, 0\n", COLOURED),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndining table:128,64,0::\n", COLOURED),
        ("label_colors.txt", "0 0 0\tbackground\n128 64 0 dining table\n", COLOURED),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n", ClassList(("background", "cat"), (), (0, 1))),
        ("names.json", '["a", "off"]', ClassList(("a", "off"))),
        (
            "dataset_meta.json",
            json.dumps({"label_map": {"0": "Void", "3": "Road"}, "segmentation_colors": [[0, 0, 0], [128, 64, 128]]}),
            ClassList(("Void", "Road"), ((0, 0, 0), (128, 64, 128)), (0, 3)),
        ),
    ],
)  # fmt: skip
def test_every_form_is_told_by_its_content(name: str, text: str, expected: ClassList, tmp_path: Path) -> None:
    assert read_class_list(written(tmp_path, text, name)) == expected


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("c.txt", "# nothing\n", "expected at least one name"),
        ("c.txt", "a\nb\na\n", "class 'a' is listed twice"),
        ("c.csv", "colour,value\nred,1\n", r"its header is \['colour', 'value'\]; expected a column name"),
        ("c.csv", "name,r,g,b\na,0,0,300\n", "beyond 255"),
        ("c.csv", "name,r,g,b\na,0,0,1\nb,0,0,1\n", r"colour \(0, 0, 1\) stands for two classes"),
        ("c.csv", "name,r,g,b\na,0,0\n", "line 2 has fewer columns"),
        ("c.csv", "name,r,g,b\na,0,0,x\n", "'x' where a whole number was expected"),
        ("c.csv", "Pixel Value, Class\n1, a\n1, b\n", "value 1 stands for two classes"),
        ("c.json", "[1, 2]", "holds the entry 1, which is no text"),
        ("c.json", '{"a": 0}', "holds dict; expected a JSON list"),
        ("c.json", "[", "not readable as JSON"),
        ("c.json", '{"label_map": {"0": "a"}, "segmentation_colors": [[0, 0]]}', "expected three levels"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name(name: str, text: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"class list .*{name}: .*{match}"):
        read_class_list(written(tmp_path, text, name))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_class_list(tmp_path / "none.txt")
    (tmp_path / "wide.txt").write_text("sound\n", encoding="utf-16")
    with pytest.raises(SourceError, match="is not UTF-8"):
        read_class_list(tmp_path / "wide.txt")


@pytest.mark.parametrize("names", [[False, True], ["off", 2024], [None], ["a", 1.5]])
def test_names_that_yaml_took_for_something_else_are_refused_with_the_fix(names: list[Any]) -> None:
    odd = next(name for name in names if not isinstance(name, str))
    with pytest.raises(ConfigError, match=rf"classes holds {odd}, .*Quote it: '{odd}'"):
        class_list(names)


def test_a_list_or_a_file_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "sound\ncrack\n")
    assert class_list("classes.txt", root=tmp_path) == class_list([" sound", "crack"]) == ClassList(("sound", "crack"))
    monkeypatch.chdir(tmp_path)
    assert class_list("classes.txt", root=Path("/nowhere")).names == ("sound", "crack")
    with pytest.raises(ConfigError, match="expected a list of names"):
        class_list(2024)  # type: ignore[arg-type]
