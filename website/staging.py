"""A copy of the pages whose links lead within the site.

Owns where a link goes: to another page, to a picture, which is copied, or to any other file or folder of the
repository, for which a page is made that shows it, since a site has no repository beside it.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
PICTURES = (".jpg", ".jpeg", ".png", ".svg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


class DeadLink(Exception):
    """A page links to nothing; the message names both."""


class Staging:
    """A folder of pages in the making.

    Args:
        root: of the repository.
        into: an empty folder.
        pages: every page's file in the repository -> its place in the site.
    """

    def __init__(self, root: Path, into: Path, pages: Mapping[str, str]) -> None:
        self.root, self.into, self.pages = root, into, pages
        self.shown: set[str] = set()  # files and folders that a page was made for

    def stage_all(self) -> None:
        """Copy every page.

        Raises:
            DeadLink: a link leads nowhere.
        """
        for name, place in self.pages.items():
            self.write(place, self.rewritten((self.root / name).read_text("utf-8"), name, place))

    def write(self, place: str, text: str) -> None:
        path = self.into / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def rewritten(self, markdown: str, name: str, place: str) -> str:
        """A page's text with the links of its place in the site; what is linked is staged, too."""

        def led(link: re.Match[str]) -> str:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link[1]))
            if target.startswith("../") or not (self.root / target).exists():
                raise DeadLink(f"{name} links to {link[1]}, which is not in the repository")
            there = posixpath.relpath(self._place_of(target), posixpath.dirname(place) or ".")
            return f"]({there}{link[2] or ''})"

        lines, in_code = [], False
        for line in markdown.splitlines():
            in_code ^= line.lstrip().startswith("```")
            lines.append(line if in_code else LINK.sub(led, line))
        return "\n".join(lines) + "\n"

    def _place_of(self, target: str) -> str:
        """Where a linked file or folder is in the site, staged if it is no page of its own."""
        if target in self.pages:
            return self.pages[target]
        path = self.root / target
        if path.suffix in PICTURES:
            picture = self.into / target.removeprefix("docs/")
            picture.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, picture)
            return target.removeprefix("docs/")
        place = f"files/{target}{'/index' if path.is_dir() else ''}.md"
        if target not in self.shown:
            self.shown.add(target)
            shown = self.rewritten(_notebook(path), target, place) if path.suffix == ".ipynb" else _shown(path, target)
            self.write(place, shown)
        return place


def _shown(path: Path, name: str) -> str:
    """A page that shows a file, or lists a folder."""
    if path.is_dir():
        listed = (item for item in sorted(path.rglob("*")) if item.is_file() and "__pycache__" not in item.parts)
        return _page(f"{name}/", "", "\n".join(item.relative_to(path).as_posix() for item in listed))
    return _page(name, LANGUAGES.get(path.suffix, "text"), path.read_text("utf-8").rstrip())


def _notebook(path: Path) -> str:
    """The cells of a notebook, one below the other."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in texts) + "\n"


def _page(title: str, language: str, text: str) -> str:
    return f"---\nsearch:\n  exclude: true\n---\n\n# `{title}`\n\n````{language}\n{text}\n````\n"
