"""CutDepth: a full-height strip of the picture is overwritten by the depth label, as a training view may ask.

Owns both forms of it (docs/methods/depth.md#cutdepth); whether a view has a strip, and where, is drawn by
`pipeline.views`.

    ("cut_depth_wrapped", x0, x1)
        published: the integers of the PNG, whatever their unit, pressed into 8 bits, so that they wrap modulo 256
        (300 -> 44, 5000 -> 136): stripes along lines of equal depth
    ("cut_depth_scaled", x0, x1, max_depth_m)
    ("cut_depth_scaled", x0, x1, max_depth_m, units_per_metre)
        sane: 0..max_depth_m becomes 0..255; without a measurement the picture stays. 1000 units of the PNG are a metre,
        or as many as the step says: 256 in KITTI

x0 and x1 are columns of the SOURCE picture: the strip is drawn before anything is cut, resized, flipped or recoloured,
as in the published order, so a crop may show all, a part or nothing of it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from pipeline.rendering.colour import Step
from shards.errors import ConfigError

WRAPPED, SCALED = "cut_depth_wrapped", "cut_depth_scaled"
MILLIMETRES = 1000.0  # units in a metre
_NUMBERS = {WRAPPED: (2,), SCALED: (3, 4)}


def split(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """(strips, the colour steps after them). Raises ConfigError for a strip that comes after a colour step."""
    is_strip = [step[0] in _NUMBERS for step in steps]
    n_strips = sum(is_strip)
    if not all(is_strip[:n_strips]):
        raise ConfigError(f"view: CutDepth works on the source picture, so it must come first; found {list(steps)}")
    return list(steps[:n_strips]), list(steps[n_strips:])


def paste(image: np.ndarray, strips: Sequence[Step], labels: Mapping[str, np.ndarray | bytes]) -> np.ndarray:
    """A copy of `image` uint8 [H, W, 3] with the strips drawn from labels["depth"].

    Raises ConfigError: no depth label, other numbers than a strip takes, or columns outside the picture.
    """
    image = image.copy()
    for name, *numbers in strips:
        takes = _NUMBERS[str(name)]
        if len(numbers) not in takes:
            raise ConfigError(f"view: step {name!r} takes {' or '.join(map(str, takes))} numbers, found {numbers}")
        x0, x1 = int(numbers[0]), int(numbers[1])
        if not 0 <= x0 < x1 <= image.shape[1]:
            raise ConfigError(f"view: {name} of columns {x0} to {x1} in a picture {image.shape[1]} pixels wide")
        per_metre = float(numbers[3]) if len(numbers) == 4 else MILLIMETRES
        strip, target = stored_units(labels, per_metre)[:, x0:x1], image[:, x0:x1]  # [H, w], [H, w, 3]
        if name == WRAPPED:
            target[:] = (strip & 255).astype(np.uint8)[..., None]
        else:
            levels = np.clip(np.rint(strip * (255 / per_metre / float(numbers[2]))), 0, 255).astype(np.uint8)
            np.copyto(target, levels[..., None], where=(strip > 0)[..., None])
    return image


def stored_units(labels: Mapping[str, np.ndarray | bytes], units_per_metre: float) -> np.ndarray:
    """Depth label -> whole units, int32 [H, W], 0 = no measurement.

    Bytes are a 16-bit PNG of such units; arrays are metres, cut to whole units as the published PNGs of NYUv2 were.
    """
    depth = labels.get("depth")
    if depth is None:
        raise ConfigError(
            f"view: CutDepth needs the label 'depth', the source gives {sorted(labels) or 'none'}; "
            "use a depth source, or cut_depth: none"
        )
    if isinstance(depth, bytes):
        with Image.open(io.BytesIO(depth)) as picture:
            return np.asarray(picture).astype(np.int32)
    return (depth.astype(np.float32) * np.float32(units_per_metre)).astype(np.int32)
