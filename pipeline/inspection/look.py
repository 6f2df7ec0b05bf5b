"""One example, looked at: loaded and cut into views as a build would, and reduced to what is counted.

Runs in any thread. Leaves the labels to `labels`, pictures for people to `drawing`, and counting to `tally`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pipeline.building.ledger import Rejected
from pipeline.example import Example, Source
from pipeline.inspection.drawing import Drawing, draw
from pipeline.inspection.labels import Classes, Depth, read_labels
from pipeline.sources.refs.masks import area_px
from pipeline.views import ViewPlan, view_runs
from shards.errors import ContractError, Reject
from shards.geometry.view import Size


@dataclass(frozen=True)
class Fatal:
    """An example that ends a build, and why."""

    key: str
    reason: str


@dataclass(frozen=True, eq=False)
class Look:
    """What is kept of an example.

    Attributes:
        grey: all three channels are equal.
        pixels_sha256: of the decoded picture; equal pictures have equal ones, whatever their files are.
        targets_px: pixels of the mask of every ref; 0 means nothing in the picture.
        items: that an epoch would count.
    """

    key: str
    size_px: Size
    grey: bool
    pixels_sha256: str
    labels: tuple[Classes | Depth, ...]
    sentences: tuple[str, ...]
    targets_px: tuple[int, ...]
    boxes: int
    items: int
    left_out: tuple[str, ...]
    drawing: Drawing | None


def look(source: Source, split: str, plan: ViewPlan, key: str, drawn: bool = False) -> Look | Rejected | Fatal:
    """Load an example and plan its views.

    Args:
        drawn: also draw it.
    """
    try:
        example = source.load(split, key)
        size_px = (example.height_px, example.width_px)
        runs = view_runs(plan, key, size_px, example.boxes_px, example.labels)
        labels = read_labels(source.label_fields, example.labels)
    except Reject as reject:
        return Rejected(key, str(reject))
    except ContractError as error:
        return Fatal(key, str(error))
    image = example.image  # uint8 [H, W, 3]
    grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())
    digest = hashlib.sha256(f"{size_px}".encode())
    digest.update(image.tobytes())
    return Look(
        key,
        size_px,
        grey,
        digest.hexdigest(),
        tuple(labels),
        example.sentences,
        _targets(example),
        len(example.boxes_px),
        len(example.items or runs),
        example.left_out,
        draw(example, labels) if drawn else None,
    )


def _targets(example: Example) -> tuple[int, ...]:
    refs = example.meta.get("refs", ())
    return tuple(area_px(ref["rle"]) for ref in refs if isinstance(ref, dict) and "rle" in ref)
