"""The markup that pages share: style, notes, tables with bars, pictures inside the file. No script, nothing loaded."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from pipeline.inspection.drawing import Drawing

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
h2 { border-top: 1px solid #ccc; padding-top: 1em; }
table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; overflow-wrap: anywhere; }
th, td.number { overflow-wrap: normal; white-space: nowrap; } li, h1, h2 { overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.refused { background: #fbe3e3; } .warning { background: #fdf3d7; } .fine { background: #e4f3e4; }
.refused, .warning, .fine { padding: 6px 10px; margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; border: 1px solid #999; }
td.bars { width: min(200px, 22vw); } .bar { display: block; height: 0.7em; background: #678; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 14px; }
figure { margin: 0; } figure img { vertical-align: top; } figure img + img { margin-left: 2%; }
.wide { overflow-x: auto; } details { margin: 1em 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(460px, 100%), 1fr)); gap: 14px; }
.steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(160px, 45%), 1fr)); gap: 8px; }
figure.curve svg { width: 100%; height: auto; }
figcaption { font-size: 13px; overflow-wrap: anywhere; }
"""


def document(title: str, body: Iterable[str]) -> str:
    """A whole file."""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *body,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def note(kind: str, text: str) -> str:
    """`refused`, `warning` or `fine`."""
    return f'<div class="{kind}">{escape(text)}</div>'


def table(head: Sequence[str], rows: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    """Two columns of numbers and a bar of a share of the widest."""
    yield "<table><tr>" + "".join(f"<th>{escape(word)}</th>" for word in head) + "</tr>"
    for first, second, share in rows:
        numbers = f'<td class="number">{escape(first)}</td><td class="number">{escape(second)}</td>'
        yield f"<tr>{numbers}{bar(share)}</tr>"
    yield "</table>"


def figure(drawing: Drawing, *more: tuple[str, bytes]) -> str:
    """A picture beside the same with its labels and what else is shown of it (in words, JPEG), and the texts below."""
    shown = (("picture", drawing.picture), ("with its labels", drawing.overlay), *more)
    width = f"width: {(100 - 2 * (len(shown) - 1)) // len(shown)}%"
    images = "".join(image(alt, jpeg, width) for alt, jpeg in shown)
    texts = "".join(f"<br>{swatch(colour) if colour else ''} {escape(text)}" for text, colour in drawing.texts)
    return f"<figure>{images}<figcaption>{escape(drawing.key)}{texts}</figcaption></figure>"


def image(alt: str, jpeg: bytes, style: str = "width: 100%") -> str:
    """A picture inside the file."""
    inside = base64.b64encode(jpeg).decode("ascii")
    return f'<img style="{style}" alt="{escape(alt)}" src="data:image/jpeg;base64,{inside}">'


def swatch(colour: tuple[int, int, int]) -> str:
    return f'<span class="swatch" style="background: rgb{colour}"></span>'


def bar(share: float) -> str:
    """A cell of a table."""
    return f'<td class="bars"><span class="bar" style="width: {share:.1%}"></span></td>'
