"""Which views of a source image the encoder is shown.

Owns the ViewPlan protocol and the only random numbers a plan may use. The View record itself is `shards.view`'s;
`pipeline.geometry` carries a view out; a plan only decides. One plan is one module here, found by its name, exposing
`build(**options)`.

Why views are recorded rather than drawn in the training loop: a latent cannot be cropped, flipped or recoloured
afterwards, because the VAE is not equivariant (DESIGN.md section 2). The steps of a view run in a fixed order that
covers the published pipelines: cut `box_px`, resize it to `resized_px`, cut `window_px`, flip, recolour, pad.
    refer (vpd_spec 7.2)   whole image, resized to 512x512, whole window
    depth (3.3)            box = the crop, no resize, padding at the bottom
    ADE20K (6.2)           whole image, resized by the drawn scale, window = the crop, padding
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from shards.view import Size, View


class ViewPlan(Protocol):
    """Decides the views of an image. Every view of a plan has the same `size_px`: encoder batches have one shape."""

    @property
    def size_px(self) -> Size: ...

    @property
    def views_per_image(self) -> int:
        """How many views an image gets; a plan whose number varies gives its typical one (for estimates only)."""
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


def generator(seed: int, key: str, view_index: int) -> np.random.Generator:
    """The random numbers of one view: counter-based, and a function of (seed, key, view index) alone.

    No plan may draw from anything else, so that a view does not depend on which worker made it, or when.
    """
    digest = hashlib.sha256(f"{seed}\n{view_index}\n{key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
