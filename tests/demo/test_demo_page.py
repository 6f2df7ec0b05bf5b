"""A chapter's table reads the same in a terminal and on the page, which needs no other file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from PIL import Image

from demo.outcome import Outcome
from demo.page import write_page

FOUND = Outcome(
    "Which <object>?",
    ("oIoU", "mIoU"),
    {"all foreground": (0.041, None), "from random weights": (0.5, 0.25)},
    "from random weights",
    "drawn.png",
    "Pictures & predictions",
    "at most 1.0",
)


def test_the_lines_stand_in_columns_and_a_missing_figure_is_left_empty() -> None:
    title, head, first, second, note = FOUND.lines()
    assert title == "Which <object>?"
    assert [head.index(name) + len(name) for name in FOUND.columns] == [second.index("0.500") + 5, len(second)]
    assert first.split() == ["all", "foreground", "0.041"]
    assert note.strip() == "at most 1.0"


def test_the_page_holds_scores_and_pictures_and_loads_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "drawn.png")
    Image.new("RGB", (4, 3), "blue").save(tmp_path / "samples.jpg")
    write_page(tmp_path / "index.html", [FOUND], tmp_path / "samples.jpg", minutes=5.25)
    page = (tmp_path / "index.html").read_text()
    assert "Which &lt;object&gt;?" in page
    assert "Pictures &amp; predictions" in page
    assert "5.2 minutes" in page
    without = replace(FOUND, title="No picture", picture="")
    write_page(tmp_path / "without.html", [without], tmp_path / "samples.jpg", minutes=5.25)
    assert (tmp_path / "without.html").read_text().count("<img") == page.count("<img") - 1
    assert re.search(r'<tr class="marked"><td>from random weights</td><td>0.500</td><td>0.250</td></tr>', page)
    assert re.findall(r'src="(data:image/\w+)', page) == ["data:image/jpeg", "data:image/png"]
    assert not re.search(r'(src|href)="(?!data:)', page)
