"""A set as one HTML file: pictures and curves inside it, no script, nothing loaded from anywhere.

Owns the order and the curves. Markup is `pipeline.inspection.markup`'s, numbers are `survey`'s, pictures `drawing`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pipeline.inspection.drawing import Drawing
from pipeline.inspection.markup import bar, document, figure, note, table
from pipeline.set_page.survey import Histogram, Survey

SHOWN_REJECTS = 50
SHOWN_SIZES = 12
SHOWN_SHARDS = 500
LEGEND = (
    "classes in their colours, depth from red (near) to blue (far), what sentences mean in the colour beside them, "
    "visible keypoints filled; black is ignored or not measured."
)
_W, _H = 320, 90  # of a curve


def page(found: Survey, drawings: Sequence[Drawing], how: str, notes: Sequence[str] = ()) -> str:
    """The whole file. `how` says what the pictures are; `notes` are warnings."""
    return document(f"{found.manifest.name}, split {found.manifest.split}", _body(found, drawings, how, notes))


def _body(found: Survey, drawings: Sequence[Drawing], how: str, notes: Sequence[str]) -> Iterator[str]:
    manifest = found.manifest
    yield from (note("warning", line) for line in notes)
    tar_bytes = sum(shard.tar_bytes for shard in manifest.shards)
    counts = ", ".join(f"{number:,} {name}" for name, number in sorted(manifest.counts.items()))
    tables = ", ".join(f"{table.name} ({table.rows} rows)" for table in manifest.tables) or "none"
    yield "<ul>"
    for line in (
        f"{len(manifest.shards):,} shards, {tar_bytes / 1e6:,.1f} MB",
        counts,
        f"tables: {tables}",
        f"an item is a run of rows of the axis {manifest.schema.item_axis}",
        f"fingerprint {manifest.fingerprint}",
    ):
        yield f"<li>{escape(line)}</li>"
    yield "</ul>"
    if drawings:
        yield f"<h2>Records</h2><p>{escape(how)} On the right with labels: {LEGEND}</p>"
        yield '<div class="pairs">'
        yield from map(figure, drawings)
        yield "</div>"
    yield from _latents(found)
    yield from _sizes(found)
    yield from _fields(found)
    yield from _rejects(found)
    yield from _shards(found)


def _latents(found: Survey) -> Iterator[str]:
    if not found.latents:
        return
    yield f"<h2>Latents</h2><p>Raw values as stored, of {found.looked_at:,} records drawn evenly.</p>"
    yield '<div class="pairs">'
    yield from (_curve(histogram) for histogram in found.latents)
    yield "</div>"


def _sizes(found: Survey) -> Iterator[str]:
    yield f"<h2>Sizes</h2><p>Of {found.looked_at:,} records drawn evenly; bytes are of all.</p>"
    if found.record_bytes is not None:
        yield f'<div class="pairs">{_curve(found.record_bytes)}</div>'
    if found.sizes_px:
        common = found.sizes_px.most_common(SHOWN_SIZES)
        rest = len(found.sizes_px) - len(common)
        rows = [(f"{h} x {w}", f"{count:,}", count / common[0][1]) for (h, w), count in common]
        yield from table(("height x width", "pictures", ""), rows)
        yield f"<p>and {rest:,} other sizes</p>" if rest > 0 else ""
    if found.words:
        yield "<h3>Sentences by their number of words</h3>"
        most = max(found.words.values())
        yield from table(
            ("words", "sentences", ""),
            [(str(n), f"{count:,}", count / most) for n, count in sorted(found.words.items())],
        )


def _fields(found: Survey) -> Iterator[str]:
    tar_bytes = sum(shard.tar_bytes for shard in found.manifest.shards)
    yield "<h2>Fields</h2><table><tr><th>member</th><th>dtype</th><th>shape</th><th>MB</th><th></th></tr>"
    sizes = dict(found.field_bytes)
    for field in found.manifest.schema.fields:
        shape = f"[{', '.join(map(str, field.shape))}]" if field.codec == "npy" else ""
        n_bytes = sizes[field.name]
        yield (
            f"<tr><td>{escape(field.member)}</td><td>{escape(field.dtype)}</td><td>{escape(shape)}</td>"
            f'<td class="number">{n_bytes / 1e6:,.2f}</td>{bar(n_bytes / max(tar_bytes, 1))}</tr>'
        )
    yield "</table>"


def _rejects(found: Survey) -> Iterator[str]:
    if not found.rejects:
        yield "<h2>Rejects</h2><p>None.</p>"
        return
    shown = f", the first {SHOWN_REJECTS}" if len(found.rejects) > SHOWN_REJECTS else ""
    yield f"<h2>Rejects</h2><p>{len(found.rejects):,}{shown}</p><table><tr><th>picture</th><th>reason</th></tr>"
    for key, reason in found.rejects[:SHOWN_REJECTS]:
        yield f"<tr><td>{escape(key)}</td><td>{escape(reason)}</td></tr>"
    yield "</table>"


def _shards(found: Survey) -> Iterator[str]:
    shards = found.manifest.shards
    shown = f", the first {SHOWN_SHARDS}" if len(shards) > SHOWN_SHARDS else ""
    yield f"<h2>Shards</h2><p>{len(shards):,}{shown}</p>"
    yield "<table><tr><th>name</th><th>records</th><th>items</th><th>rejects</th><th>MB</th><th></th></tr>"
    largest = max((shard.tar_bytes for shard in shards), default=1)
    for shard in shards[:SHOWN_SHARDS]:
        numbers = (f"{shard.records:,}", f"{shard.items:,}", f"{shard.rejects:,}", f"{shard.tar_bytes / 1e6:,.2f}")
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        yield f"<tr><td>{escape(shard.name)}</td>{cells}{bar(shard.tar_bytes / largest)}</tr>"
    yield "</table>"


def _curve(histogram: Histogram) -> str:
    most = max(histogram.counts) or 1
    step = _W / len(histogram.counts)
    bars = "".join(
        f'<rect x="{number * step:.2f}" y="{_H * (1 - count / most):.2f}" width="{step * 0.9:.2f}" '
        f'height="{_H * count / most:.2f}"/>'
        for number, count in enumerate(histogram.counts)
    )
    said = (
        f"{histogram.name}: mean {_text(histogram.mean)}, standard deviation {_text(histogram.std)}, largest "
        f"{_text(histogram.largest)}; drawn from {_text(histogram.low)} to {_text(histogram.high)}"
    )
    return (
        f'<figure><svg viewBox="0 0 {_W} {_H}" width="100%" fill="#678" role="img" aria-label="{escape(said)}">{bars}'
        f"</svg><figcaption>{escape(said)}</figcaption></figure>"
    )


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
