"""Which views of a source image the encoder is shown.

Owns the protocols of plans, how views divide into items, and the only random numbers a plan may use. The View record
itself is `shards.geometry.view`'s; `pipeline.rendering.geometry` carries a view out; a plan only decides. One plan is
one module here, found by its name, exposing `build(**options)`.

Why views are recorded rather than drawn in the training loop: a latent cannot be cropped, flipped or recoloured
afterwards, because the VAE is not equivariant (docs/methods/shards.md#views). The steps of a view run in a fixed order
that covers the published pipelines: cut `box_px`, resize it to `resized_px`, cut `window_px`, flip, recolour, enlarge,
pad.
    refer    whole image, resized to 512x512, whole window (docs/methods/refer.md#preprocessing)
    depth    box = the crop, no resize, padding at the bottom (docs/methods/depth.md#training-views); KITTI: the crop
             enlarged (docs/methods/depth.md#kitti)
    ADE20K   whole image, resized by the drawn scale, window = the crop, padding
             (docs/methods/segmentation.md#training-views)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pipeline.example import FloatBox
from shards.errors import ConfigError
from shards.geometry.view import Size, View


class ViewPlan(Protocol):
    """Decides the views of an image. Every view of a plan has the same `size_px`: encoder batches have one shape."""

    @property
    def size_px(self) -> Size: ...

    @property
    def views_per_image(self) -> int:
        """How many views an image, or each of its boxes, gets; a plan whose number varies gives its typical one (for
        estimates only)."""
        ...

    def views(
        self, key: str, height: int, width: int, labels: Mapping[str, np.ndarray | bytes] | None = None
    ) -> list[View]:
        """Views of the source image `key`, in a fixed order; a pure function of the arguments and the options.

        `labels` are the example's, for plans that choose by what a crop would show.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Everything that determines the views, as JSON, for the recipe."""
        ...


@runtime_checkable
class BoxPlan(Protocol):
    """A plan that can show a part of an image, for sources whose items are boxes (`Example.boxes_px`)."""

    def box_views(self, key: str, number: int, box_px: FloatBox, height: int, width: int) -> list[View]:
        """Views of box `number` of the image `key`, in a fixed order; a pure function of the arguments and options."""
        ...


def view_runs(
    plan: ViewPlan,
    key: str,
    size_px: Size,
    boxes_px: Sequence[FloatBox] = (),
    labels: Mapping[str, np.ndarray | bytes] | None = None,
) -> list[list[View]]:
    """The views of an image, a list for each of its boxes; one list where it has none.

    Raises:
        ConfigError: boxes, and a plan that shows whole images only.
    """
    if not boxes_px:
        return [plan.views(key, *size_px, labels)]
    if not isinstance(plan, BoxPlan):
        raise ConfigError(
            f"views: the items of {key} are boxes, and the plan {plan.identity().get('plan')} shows whole images. "
            "Use a plan for boxes: views={name: persons, ...}."
        )
    return [plan.box_views(key, number, box, *size_px) for number, box in enumerate(boxes_px)]


def consecutive(counts: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Runs (first, count) that follow each other, as a record's items do."""
    ends = list(accumulate(counts, initial=0))
    return tuple(zip(ends, counts, strict=False))


def generator(seed: int, key: str, view_index: int) -> np.random.Generator:
    """The random numbers of one view: counter-based, and a function of (seed, key, view index) alone.

    No plan may draw from anything else, so that a view does not depend on which worker made it, or when.
    """
    digest = hashlib.sha256(f"{seed}\n{view_index}\n{key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
