"""Parts of pages in docs/ that are written from the code, between two comments: `python -m website pages`.

Owns the replacing; each part is its own module's. A test says when one is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from website.error_texts import listed
from website.folders import tree

PARTS: Mapping[str, tuple[str, Callable[[Path], str]]] = {  # name in the page -> the page, what writes the part
    "packages": ("docs/design.md", tree),
    "errors": ("docs/troubleshooting.md", listed),
}


def up_to_date(root: Path, part: str) -> tuple[Path, str]:
    """A page, and its text with this part written anew.

    Raises:
        ValueError: the page does not have its two comments.
    """
    name, written = PARTS[part]
    page = root / name
    begin, end = f"<!-- generated: {part} -->\n", "<!-- end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text = page.read_text("utf-8")
    if not pattern.search(text):
        raise ValueError(f"{name}: expected {begin.strip()!r} and, below it, {end!r}")
    return page, pattern.sub(lambda _: f"{begin}{written(root)}\n{end}", text)


def write_all(root: Path) -> list[str]:
    """Write every part anew; which pages changed."""
    changed = []
    for part in PARTS:
        page, text = up_to_date(root, part)
        if text != page.read_text("utf-8"):
            page.write_text(text, "utf-8")
            changed.append(page.relative_to(root).as_posix())
    return changed
