"""A stored record as a picture and the same with its labels: what the encoder was shown in its first view.

Everything is drawn in the view: labels, masks and points are cut and moved by the recorded geometry, as training does
it. Where the picture comes from is the caller's; without one a latent is shown in false colours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipeline.files.label_png import IGNORE
from pipeline.inspection.drawing import REFS, SIDE_PX, Drawing, by_distance, class_colours, colour_of, jpeg, mixed
from pipeline.inspection.labels import Classes, read_labels
from pipeline.set_page.survey import LATENT
from pipeline.sources.refs.masks import decode_mask
from shards.geometry.points import to_view
from shards.geometry.view import View, cut_label, recorded_views
from shards.reading.reader import StoredRecord

LABELS = ("label", "depth")  # dense ones, as docs/format.md names them
_GREY = 128  # of padding
_SHOWN_SENTENCES = 4
_TAIL = 0.01

Text = tuple[str, tuple[int, int, int] | None]


def draw_record(record: StoredRecord, picture: np.ndarray | None = None) -> Drawing:
    """Draw one.

    Args:
        picture: uint8 [H, W, 3], what the view shows, or a decoder's idea of it.
    """
    views = recorded_views(record)
    view = views[0] if views else None
    if picture is None:
        picture = (
            false_colours(record.array(LATENT, 0, 1)[0]) if _has(record, LATENT) else np.zeros((8, 8, 3), np.uint8)
        )
    height, width = view.size_px if view else picture.shape[:2]
    scale = SIDE_PX / max(height, width)
    h, w = max(round(height * scale), 1), max(round(width * scale), 1)
    shown = Image.fromarray(picture).resize((w, h), Image.Resampling.NEAREST)
    overlay = np.asarray(shown)  # [h, w, 3]
    for colours in _dense(record, view):
        overlay = mixed(overlay, np.asarray(Image.fromarray(colours).resize((w, h), Image.Resampling.NEAREST)))
    texts: list[Text] = []
    for number, (mask, sentences) in enumerate(_masks(record, view)):
        colour = colour_of(number)
        covered = np.asarray(Image.fromarray(mask).resize((w, h), Image.Resampling.NEAREST))  # [h, w]
        overlay = np.where(covered[..., None] > 0, mixed(overlay, np.full_like(overlay, colour)), overlay)
        nothing = "" if mask.any() else " (nothing in this view)"
        texts.append((" / ".join(sentences) + nothing, colour))
    if not texts:
        texts = [(str(sentence), None) for sentence in record.meta.get("sentences", ())[:_SHOWN_SENTENCES]]
    drawn = Image.fromarray(overlay)
    if view is not None:
        _draw_person(drawn, record, view, scale)
        texts.append((_geometry(view, len(views)), None))
    return Drawing(record.key, jpeg(shown), jpeg(drawn), tuple(texts))


def false_colours(latent: np.ndarray) -> np.ndarray:
    """A latent [C, h, w] as uint8 [h, w, 3]: its first three channels, each stretched to all levels."""
    channels = np.resize(latent.astype(np.float32), (3, *latent.shape[1:])) if len(latent) < 3 else latent[:3]
    channels = channels.astype(np.float32)
    low, high = (np.quantile(channels, tail, axis=(1, 2), keepdims=True) for tail in (_TAIL, 1 - _TAIL))
    levels = np.clip((channels - low) / np.maximum(high - low, 1e-6), 0, 1)
    return np.rint(levels * 255).astype(np.uint8).transpose(1, 2, 0)


def padded(shown: np.ndarray, view: View) -> np.ndarray:
    """What is left of a picture in a view, uint8 [h, w, 3], on its whole canvas [H, W, 3]."""
    (top, left), (bottom, right) = view.pad_before_px, view.pad_px
    return np.pad(shown, ((top, bottom), (left, right), (0, 0)), constant_values=_GREY)


def _dense(record: StoredRecord, view: View | None) -> Iterator[np.ndarray]:
    """The colours of dense labels, uint8 [h, w, 3]."""
    fields = [field for field in record.shards.schema.fields if field.name in LABELS]
    values = {
        field.name: record.array(field.name) if field.codec == "npy" else bytes(record.payload(field.name))
        for field in fields
    }
    for label in read_labels(fields, values):
        if isinstance(label, Classes):
            yield class_colours()[label.map if view is None else cut_label(label.map, view, IGNORE)]
        else:
            yield by_distance(label.map_m if view is None else cut_label(label.map_m, view))


def _masks(record: StoredRecord, view: View | None) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """(mask uint8 [h, w], sentences) of some refs, the largest first, so that it does not hide the others."""
    meta = record.meta
    found = []
    for ref, (first, count) in list(zip(meta.get("refs", ()), meta["items"], strict=False))[:REFS]:
        if not isinstance(ref, dict) or "rle" not in ref:
            continue
        mask = decode_mask(ref["rle"]).astype(np.uint8)
        sentences = tuple(map(str, meta.get("sentences", ())[first : first + count]))
        found.append((mask if view is None else cut_label(mask, view), sentences))
    return sorted(found, key=lambda pair: -int(pair[0].sum()))


def _draw_person(drawn: Image.Image, record: StoredRecord, view: View, scale: float) -> None:
    """The keypoints of the person whom the first view was made for."""
    person = _first_person(record.meta)
    if person is None:
        return
    points = np.array(person["keypoints"], np.float64).reshape(-1, 3)
    at = (to_view(points[:, :2], view) + 0.5) * scale
    pen = ImageDraw.Draw(drawn)
    for (x, y), visibility in zip(at.tolist(), points[:, 2].tolist(), strict=True):
        if visibility:
            pen.ellipse(
                (x - 3, y - 3, x + 3, y + 3), fill=colour_of(0) if visibility > 1 else None, outline=colour_of(0)
            )


def _first_person(meta: dict[str, Any]) -> dict[str, Any] | None:
    boxes, persons = meta.get("boxes") or [], meta.get("persons") or []
    number = boxes[0].get("person") if boxes and isinstance(boxes[0], dict) else None
    return persons[number] if isinstance(number, int) and number < len(persons) else None


def _geometry(view: View, count: int) -> str:
    x0, y0, x1, y1 = view.box_px
    steps = [f"columns {x0} to {x1} and rows {y0} to {y1}", f"resized to {view.resized_px[0]} x {view.resized_px[1]}"]
    steps += ["mirrored"] if view.flip else []
    steps += [f"colours: {', '.join(str(step[0]) for step in view.colour)}"] if view.colour else []
    steps += ["padded"] if view.is_padded else []
    which = f"first of {count} views: " if count > 1 else ""
    return f"{which}{', '.join(steps)}; shown as {view.size_px[0]} x {view.size_px[1]}"


def _has(record: StoredRecord, name: str) -> bool:
    return any(field.name == name and field.codec == "npy" for field in record.shards.schema.fields)
