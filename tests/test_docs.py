"""The documentation against the repository: links lead somewhere, and code shown is code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
BLOCK = re.compile(r"<!-- (examples/\S+\.py) -->\n```python\n(.*?)```", re.DOTALL)
EXTENDING = next(page for page in PAGES if page.stem == "extending")
OUTSIDE = sorted((ROOT / "examples" / "outside").glob("[a-z]*.py"))


def dead_links(text: str, folder: Path) -> list[str]:
    return [target for target in LINK.findall(text) if not (folder / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    assert dead_links(page.read_text(), page.parent) == []


def test_the_check_itself_sees_a_dead_link() -> None:
    assert dead_links("[a](LICENSE) and [b](nowhere/x.txt#y), [c](https://x.org)", ROOT) == ["nowhere/x.txt"]


def test_parts_shown_in_the_docs_are_the_tested_files_and_short() -> None:
    shown = dict(BLOCK.findall((EXTENDING).read_text()))
    assert sorted(shown) == [str(file.relative_to(ROOT)) for file in OUTSIDE]
    for name, code in shown.items():
        assert code == (ROOT / name).read_text(), name
        assert len(code.splitlines()) < 40, name
