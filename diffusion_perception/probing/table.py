"""The one table of a sweep: a row for every layer, timestep, prompt and probe, with its scores; as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LIVE = "live"


@dataclass(frozen=True)
class Row:
    """Scores of one layer in one trial.

    Attributes:
        probe: its name in the settings; `match` for pairs.
        channels, stride_px: of the layer's map.
        scores: by name.
        categories: of pairs, scores of each category.
        features: `live`, by the model's own passes; else the name of what was baked.
    """

    layer: str
    timestep: float
    prompt: str
    probe: str
    channels: int
    stride_px: tuple[float, float]
    scores: dict[str, float]
    categories: dict[str, dict[str, float]] = field(default_factory=dict)
    features: str = LIVE

    def to_json(self) -> dict[str, Any]:
        """A score over nothing is null: JSON knows no NaN."""
        return asdict(self) | {
            "scores": _known(self.scores),
            "categories": {name: _known(scores) for name, scores in self.categories.items()},
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Row:
        row, column = said["stride_px"]
        return cls(**said | {"stride_px": (row, column), "scores": _numbers(said["scores"])})


def in_words(rows: Sequence[Row], best_by: str = "", higher_is_better: bool = True) -> str:
    """The table, a star at the row that is best by a score."""
    scores = list(dict.fromkeys(name for row in rows for name in row.scores))
    told = any(row.features != LIVE for row in rows)
    words = ["layer", "t", "prompt", "probe", *(["features"] if told else [])]
    heads = [*words, "channels", "stride", *scores]
    best = None
    if known := [row for row in rows if row.scores.get(best_by, float("nan")) == row.scores.get(best_by)]:
        best = (max if higher_is_better else min)(known, key=lambda row: row.scores[best_by])
    lines = [heads]
    for row in rows:
        cells = [row.layer, f"{row.timestep:g}", repr(row.prompt), row.probe, *([row.features] if told else [])]
        cells += [str(row.channels), f"{row.stride_px[0]:g}", *(_cell(row.scores.get(name)) for name in scores)]
        lines.append([*cells[:-1], cells[-1] + " *"] if row is best else cells)
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    text = (
        "  ".join(
            _padded(cell, width, place < len(words))
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(line.rstrip() for line in text)


def _padded(cell: str, width: int, is_word: bool) -> str:
    if is_word:
        return cell.ljust(width)
    starred = cell.endswith(" *")
    return cell.rjust(width + 2 * starred)


def _cell(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _known(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: None if value != value else value for name, value in scores.items()}


def _numbers(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in scores.items()}
