"""Findings as one HTML file: pictures inside it, no script, nothing loaded from anywhere.

Owns the order. Markup is `markup`'s, what is said is `findings`', what is drawn `drawing`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pipeline.files.label_png import IGNORE
from pipeline.inspection.drawing import colour_of
from pipeline.inspection.findings import PERCENTILES, Findings, class_shares, depth_percentiles_m
from pipeline.inspection.markup import bar, document, figure, note, swatch, table

REASONS = 50  # rejects that are listed


def page(title: str, findings: Sequence[Findings]) -> str:
    """The whole file."""
    body = [line for part in findings for line in _split(part)]
    refused = sum(bool(part.refusals) for part in findings)
    verdict = f"{refused} of {len(findings)} splits would be refused by a build" if refused else "a build would begin"
    return document(title, [note("refused" if refused else "fine", verdict), *body])


def _split(found: Findings) -> Iterator[str]:
    tally = found.tally
    yield f"<h2>{escape(found.split)}</h2>"
    yield from (note("refused", line) for line in found.refusals)
    yield from (note("warning", line) for line in found.warnings)
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
        yield from table(("measurements", "nearer than", ""), rows)
    if tally.sentences:
        yield "<h3>Sentences by their number of words</h3>"
        most = max(tally.words.values())
        rows = [(str(words), str(count), count / most) for words, count in sorted(tally.words.items())]
        yield from table(("words", "sentences", ""), rows)
    if tally.drawings:
        count = len(tally.drawings)
        first = f"The first {count} pictures" if count > 1 else "The first picture"
        yield f"<h3>{first}, and the same with labels laid over</h3>"
        if tally.depth_pixels:
            yield "<p>Near is red, far is blue, each picture by its own range; black is not measured.</p>"
        yield '<div class="pairs">'
        yield from map(figure, tally.drawings)
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
            f'<tr><td class="number">{value}</td><td>{swatch(colour)} {escape(name)}</td>'
            f'<td class="number">{share:.2%}</td><td class="number">{pictures}</td>{bar(share / most)}</tr>'
        )
    yield "</table>"


def _reasons(found: Findings) -> Iterator[str]:
    left_out = [*found.tally.fatal, *found.tally.rejects, *found.tally.entries]
    if not left_out:
        return
    yield f"<h3>What is left out ({len(left_out)}{f', the first {REASONS}' if len(left_out) > REASONS else ''})</h3>"
    yield "<table><tr><th>picture</th><th>reason</th></tr>"
    for entry in left_out[:REASONS]:
        yield f"<tr><td>{escape(entry.key)}</td><td>{escape(entry.reason)}</td></tr>"
    yield "</table>"
