"""The tree of the packages on docs/design.md, with the sentence that every folder says of itself first.

Owns how it is drawn; the captions are the docstrings of each `__init__.py`, so that none of them goes stale.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("shards", "pipeline", "vpd", "diffusion_perception", "jobs", "demo")
NAME_CHARACTERS, WIDTH = 24, 92  # as many as fit beside the site's menus


class Uncaptioned(Exception):
    """A package says nothing of itself."""


def tree(root: Path) -> str:
    """A code block: every package, and the folders in it that are packages.

    Raises:
        Uncaptioned: an `__init__.py` without a docstring.
    """
    lines: list[str] = []
    for name in PACKAGES:
        lines += _line(root / name, "")
        rooms = sorted(path for path in (root / name).iterdir() if (path / "__init__.py").is_file())
        for room in rooms:
            lines += _line(room, "  ")
        lines.append("")
    return "\n".join(["```", *lines[:-1], "```"])


def _line(folder: Path, indent: str) -> Iterator[str]:
    name = f"{indent}{folder.name}/"
    parts = textwrap.wrap(caption(folder), WIDTH - NAME_CHARACTERS)
    yield f"{name:<{NAME_CHARACTERS}}{parts[0]}"
    yield from (" " * NAME_CHARACTERS + part for part in parts[1:])


def caption(folder: Path) -> str:
    """The first sentence of a package's docstring, in one line and without its full stop."""
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    if not said:
        raise Uncaptioned(f"{folder}/__init__.py has no docstring")
    words = " ".join(said.partition("\n\n")[0].split())
    return words.partition(". ")[0].rstrip(".")
