"""Parts of pages that are written from the code: up to date, and written so that a change shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from website import generated
from website.folders import Uncaptioned, caption, tree
from website.generated import PARTS, up_to_date, write_all
from website.rendering import ROOT


@pytest.mark.parametrize("part", PARTS)
def test_generated_parts_are_up_to_date(part: str) -> None:
    page, text = up_to_date(ROOT, part)
    assert text == page.read_text("utf-8"), f"{page.name} is stale: python -m website pages"


def test_every_package_and_its_folders_are_in_the_tree() -> None:
    drawn = tree(ROOT)
    for name in ("shards", "pipeline", "vpd", "diffusion_perception", "jobs"):
        rooms = [path.parent for path in (ROOT / name).glob("*/__init__.py")]
        assert rooms
        for folder in (ROOT / name, *rooms):
            assert f"{folder.name}/ " in drawn
            assert caption(folder).split()[0] in drawn
    assert max(map(len, drawn.splitlines())) <= 92


def test_a_caption_is_the_first_sentence_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""Tools of sets, in\nfolders: all. Knows\nno models.\n\nMore.\n"""\n')
    assert caption(tmp_path) == "Tools of sets, in folders: all"
    (tmp_path / "__init__.py").write_text("x = 1\n")
    with pytest.raises(Uncaptioned):
        caption(tmp_path)


def test_a_stale_part_is_seen_and_written_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.txt"
    page.write_text("before\n<!-- generated: x -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(generated, "PARTS", {"x": ("page.txt", lambda root: "new \\1")})
    assert write_all(tmp_path) == ["page.txt"]
    assert page.read_text() == "before\n<!-- generated: x -->\nnew \\1\n<!-- end -->\nafter\n"
    assert write_all(tmp_path) == []
    page.write_text("no comments\n")
    with pytest.raises(ValueError, match="expected '<!-- generated: x -->'"):
        write_all(tmp_path)
