"""A pattern is searched below what is there by name, whatever signs that name holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.files.patterns import folder_and_pattern


@pytest.mark.parametrize(
    ("text", "folder", "pattern"),
    [
        ("plain/deep", "plain/deep", ""),
        ("plain/**/cat*", "plain", "**/cat*"),
        ("shots [20]/a*.jpg", "shots [20]", "a*.jpg"),
        ("shots [20]", "shots [20]", ""),
        ("shots [20]/[ab]/*.jpg", "shots [20]", "[ab]/*.jpg"),
        ("shots [20]/c[1].jpg", "shots [20]", "c[[]1].jpg"),
        ("shots [19]/*.jpg", ".", "shots [19]/*.jpg"),
    ],
)
def test_what_is_there_by_name_is_meant(tmp_path: Path, text: str, folder: str, pattern: str) -> None:
    (tmp_path / "shots [20]").mkdir()
    (tmp_path / "shots [20]" / "c[1].jpg").touch()
    assert folder_and_pattern(tmp_path, text) == (tmp_path / folder, pattern)
    assert folder_and_pattern(Path(), tmp_path / text) == (tmp_path / folder, pattern)
