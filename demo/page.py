"""demo_out/index.html: one page that loads nothing, with scores, pictures and the pre-trained model's samples."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from demo.outcome import Outcome, written

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; color: #1b1f24; }
section { border-top: 1px solid #d5d9de; padding: 1rem 0; }
img { max-width: 100%; height: auto; border-radius: 4px; }
figure { margin: 1rem 0; }
figcaption, .note { color: #57606a; font-size: 0.9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.9rem 0.25rem 0; text-align: right; border-bottom: 1px solid #e6e9ed; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
tr.marked { font-weight: 600; background: #eef6ff; }
@media (prefers-color-scheme: dark) {
  body { background: #14171a; color: #e3e6ea; } figcaption, .note { color: #9aa4ae; }
  section { border-color: #333a41; } th, td { border-color: #2a3036; } tr.marked { background: #1c2c3d; }
}
"""


def write_page(path: Path, outcomes: Sequence[Outcome], samples: Path, minutes: float) -> None:
    """Args: `samples`, what the pre-trained model draws; pictures of the outcomes lie beside `path`."""
    parts = [
        "<h1>diffusion-perception: the demo</h1>",
        "<p>A tiny Stable Diffusion becomes a perception model of rendered rooms. The pictures are those of the row on "
        "a coloured ground; the other rows are what needs no learning, and other trainings. All of it took "
        f"{minutes:.1f} minutes on this machine.</p>",
        "<section><h2>What was pre-trained</h2>"
        f"{_figure(samples, 'Drawn by the model from captions, before any fine-tuning.')}</section>",
    ]
    for outcome in outcomes:
        note = f'<p class="note">{escape(outcome.note)}</p>' if outcome.note else ""
        figure = _figure(path.parent / outcome.picture, outcome.caption) if outcome.picture else ""
        parts.append(f"<section><h2>{escape(outcome.title)}</h2>{_table(outcome)}{note}{figure}</section>")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>diffusion-perception: the demo</title><style>{STYLE}</style></head>\n<body>\n"
    )
    path.write_text(page + "\n".join(parts) + "\n</body></html>\n", encoding="utf-8")


def _table(outcome: Outcome) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in ("", *outcome.columns))
    rows = []
    for what, figures in outcome.rows.items():
        cells = "".join(f"<td>{written(figure)}</td>" for figure in figures)
        mark = ' class="marked"' if what == outcome.marked else ""
        rows.append(f"<tr{mark}><td>{escape(what)}</td>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _figure(picture: Path, caption: str) -> str:
    kind = "jpeg" if picture.suffix == ".jpg" else "png"
    data = base64.b64encode(picture.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
