"""Findings as one HTML file: pictures inside it, no script, nothing loaded from anywhere.

Owns markup and style. What is said is `findings`', what is drawn `drawing`'s.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape

from pipeline.files.label_png import IGNORE
from pipeline.inspection.drawing import Drawing, colour_of
from pipeline.inspection.findings import PERCENTILES, Findings, class_shares, depth_percentiles_m

REASONS = 50  # rejects that are listed
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
figure { margin: 0; } figure img { width: 49%; vertical-align: top; } figure img + img { margin-left: 2%; }
figcaption { font-size: 13px; overflow-wrap: anywhere; }
"""


def page(title: str, findings: Sequence[Findings]) -> str:
    """The whole file."""
    body = [line for part in findings for line in _split(part)]
    refused = sum(bool(part.refusals) for part in findings)
    verdict = f"{refused} of {len(findings)} splits would be refused by a build" if refused else "a build would begin"
    head = f"<h1>{escape(title)}</h1>\n{_note('refused' if refused else 'fine', verdict)}"
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{STYLE}</style></head><body>",
        head,
        *body,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _split(found: Findings) -> Iterator[str]:
    tally = found.tally
    yield f"<h2>{escape(found.split)}</h2>"
    yield from (_note("refused", line) for line in found.refusals)
    yield from (_note("warning", line) for line in found.warnings)
    yield "<ul>"
    yield from (f"<li>{escape(line)}</li>" for line in found.lines())
    yield from (f"<li>the source says: {escape(line)}</li>" for line in found.notices)
    yield "</ul>"
    if tally.class_pixels.any():
        yield from _classes(found)
    if metres := depth_percentiles_m(tally):
        yield "<h3>Depth</h3>"
        at = zip(PERCENTILES, metres, strict=True)
        rows = [(f"{percent} %", f"{value:.3f} m", value / max(metres)) for percent, value in at]
        yield from _table(("measurements", "nearer than", ""), rows)
    if tally.sentences:
        yield "<h3>Sentences by their number of words</h3>"
        most = max(tally.words.values())
        rows = [(str(words), str(count), count / most) for words, count in sorted(tally.words.items())]
        yield from _table(("words", "sentences", ""), rows)
    if tally.drawings:
        count = len(tally.drawings)
        first = f"The first {count} pictures" if count > 1 else "The first picture"
        yield f"<h3>{first}, and the same with labels laid over</h3>"
        if tally.depth_pixels:
            yield "<p>Near is red, far is blue, each picture by its own range; black is not measured.</p>"
        yield '<div class="pairs">'
        yield from map(_figure, tally.drawings)
        yield "</div>"
    yield from _reasons(found)


def _classes(found: Findings) -> Iterator[str]:
    tally = found.tally
    rows = class_shares(tally, found.names)
    ignored = float(tally.class_pixels[IGNORE] / tally.class_pixels.sum())
    most = max([ignored, *(share for _, _, share, _ in rows)])
    yield "<h3>Classes</h3><table><tr><th>value</th><th>class</th><th>pixels</th><th>pictures</th><th></th></tr>"
    for value, name, share, pictures in [*rows, (IGNORE, "(ignored)", ignored, int(tally.class_pictures[IGNORE]))]:
        colour = (0, 0, 0) if value == IGNORE else colour_of(value)
        yield (
            f'<tr><td class="number">{value}</td><td>{_swatch(colour)} {escape(name)}</td>'
            f'<td class="number">{share:.2%}</td><td class="number">{pictures}</td>{_bar(share / most)}</tr>'
        )
    yield "</table>"


def _table(head: Sequence[str], rows: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{escape(word)}</th>" for word in head) + "</tr>"
    for first, second, share in rows:
        numbers = f'<td class="number">{escape(first)}</td><td class="number">{escape(second)}</td>'
        yield f"<tr>{numbers}{_bar(share)}</tr>"
    yield "</table>"


def _figure(drawing: Drawing) -> str:
    images = "".join(
        f'<img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">'
        for alt, jpeg in (("picture", drawing.picture), ("with its labels", drawing.overlay))
    )
    texts = "".join(f"<br>{_swatch(colour) if colour else ''} {escape(text)}" for text, colour in drawing.texts)
    return f"<figure>{images}<figcaption>{escape(drawing.key)}{texts}</figcaption></figure>"


def _reasons(found: Findings) -> Iterator[str]:
    left_out = [*found.tally.fatal, *found.tally.rejects, *found.tally.entries]
    if not left_out:
        return
    yield f"<h3>What is left out ({len(left_out)}{f', the first {REASONS}' if len(left_out) > REASONS else ''})</h3>"
    yield "<table><tr><th>picture</th><th>reason</th></tr>"
    for entry in left_out[:REASONS]:
        yield f"<tr><td>{escape(entry.key)}</td><td>{escape(entry.reason)}</td></tr>"
    yield "</table>"


def _note(kind: str, text: str) -> str:
    return f'<div class="{kind}">{escape(text)}</div>'


def _swatch(colour: tuple[int, int, int]) -> str:
    return f'<span class="swatch" style="background: rgb{colour}"></span>'


def _bar(share: float) -> str:
    return f'<td class="bars"><span class="bar" style="width: {share:.1%}"></span></td>'
