"""Pictures of the world for pre-training, in scenes that no chapter of the demo ever draws.

Owns which scenes are seen and at what size. What stands in them is `demo.world`'s; what is said about them,
`demo.pretrain.captions`'.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from demo.world import Scene, draw_scene, render

SIDE_PX = 128  # of the views that the demo's chapters build
STREAM = 7  # second number of the seed of a scene's generator: the writers of the chapters use 0 to 2


def scene_of(seed: int, number: int) -> Scene:
    """Scene `number` of the pre-training with `seed`, counted from 0."""
    return draw_scene(np.random.default_rng([seed, STREAM, number]))


def squeezed(scene: Scene) -> np.ndarray:
    """The whole picture, as a square: uint8 [SIDE_PX, SIDE_PX, 3]."""
    return np.asarray(Image.fromarray(render(scene).image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))
