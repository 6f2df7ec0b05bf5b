"""What a chapter found: a table of scores, each beside what needs no learning, and a picture.

Owns the form, and how it reads in a terminal; `demo.page` shows the same in a browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Args: `rows`, what: a figure or None a column; `marked`, the row that the chapter is about; `picture`, a name, or
    empty for none."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    marked: str
    picture: str
    caption: str
    note: str = ""

    def lines(self) -> list[str]:
        width = max(len(what) for what in self.rows) + 2
        head = " " * (width + 2) + "  ".join(f"{column:>9}" for column in self.columns)
        body = [
            f"  {what:<{width}}" + "  ".join(f"{written(figure):>9}" for figure in figures)
            for what, figures in self.rows.items()
        ]
        return [f"{self.title}", head, *body, *([f"  {self.note}"] if self.note else [])]


def written(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3f}"
