"""Views of one person each: the box of the person, enlarged, brought to the view's shape, resized (COCO keypoints).

Owns the crops of top-down pose estimation as ViTPose and mmpose make them: a box is widened or heightened to 3:4, made
1.25 times as large, and shown at 256 x 192. What of the crop lies outside the picture is grey padding on the side where
it lies, so that the middle of the box stays the middle of the view. Meta Prompts' own code for pose was never released
(docs/methods/pose.md#what-was-published): the numbers below are the neighbours', the choice of them is ours.

Modes:
    exact   the crop as it is, and with `flip: true` its mirror image too: for evaluation and prediction
    k       `k` drawn crops for training: size, place, flip and brightness drawn anew for each; view i stays the same
            when views are added

A crop is cut at whole source pixels and resized once, with Pillow's bilinear kernel, which antialiases; mmpose samples
it at fractions of a pixel, without antialiasing. So the sides of a crop lie up to half a source pixel off, but where
they lie is recorded exactly (`shards.geometry.points`): no keypoint is off by this. There is no rotation and no crop of
half a body: a view has no angle, and keypoints are not read here.

`views` shows a whole picture as if it were the box of one person, for a picture that comes without boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.example import FloatBox
from pipeline.rendering.colour import Step
from pipeline.views import generator
from pipeline.views.depth_recipes import BRIGHTNESS, CONTRAST
from pipeline.views.frame import sides
from shards.errors import ConfigError
from shards.geometry.view import Size, View


@dataclass(frozen=True)
class Drawn:
    """How a training view differs from the exact one. Probabilities are of each view."""

    scale: tuple[float, float] = (0.75, 1.25)  # of the crop's size
    shift: float = 0.16  # up to this share of the crop's sides, in both directions
    shift_probability: float = 0.3
    flip: float = 0.5
    recolour: float = 0.0  # brightness and contrast


@dataclass(frozen=True)
class Persons:
    """See the module; `build` makes one."""

    size_px: Size
    enlarge: float
    k: int  # 0: exact
    flip: bool  # exact: also the mirror image
    seed: int
    drawn: Drawn

    @property
    def views_per_image(self) -> int:
        """Of each box."""
        return self.k or 1 + self.flip

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        """Views of the whole picture, as one box."""
        return self.box_views(key, 0, (0.0, 0.0, float(width), float(height)), height, width)

    def box_views(self, key: str, number: int, box_px: FloatBox, height: int, width: int) -> list[View]:
        if self.k:
            return [self._drawn(f"{key}/{number}", i, box_px, height, width) for i in range(self.k)]
        view = cropped(self._crop(box_px), self.size_px, height, width)
        return [view, view.mirrored()] if self.flip else [view]

    def identity(self) -> dict[str, Any]:
        same = {"plan": "persons", "size_px": list(self.size_px), "enlarge": self.enlarge}
        if not self.k:
            return {**same, "mode": "exact", "flip": self.flip}
        drawn = {**asdict(self.drawn), "scale": list(self.drawn.scale)}
        return {**same, "mode": "k", "views": self.k, "seed": self.seed, **drawn}

    def _crop(self, box_px: FloatBox) -> FloatBox:
        """The box at the view's shape and enlarged, with the same middle."""
        x0, y0, x1, y1 = box_px
        shape = self.size_px[1] / self.size_px[0]
        width = max(x1 - x0, (y1 - y0) * shape) * self.enlarge
        return _around((x0 + x1) / 2, (y0 + y1) / 2, width, width / shape)

    def _drawn(self, key: str, number: int, box_px: FloatBox, height: int, width: int) -> View:
        """Every draw takes the same numbers, so an option does not move the others'."""
        random, recipe = generator(self.seed, key, number), self.drawn
        scale, shifts, flips, recolours = (float(u) for u in random.random(4))
        across, down, contrast, brightness = (2 * float(u) - 1 for u in random.random(4))  # -1..1
        x0, y0, x1, y1 = self._crop(box_px)
        factor = recipe.scale[0] + scale * (recipe.scale[1] - recipe.scale[0])
        reach = recipe.shift if shifts < recipe.shift_probability else 0.0
        x = (x0 + x1) / 2 + across * reach * (x1 - x0)
        y = (y0 + y1) / 2 + down * reach * (y1 - y0)
        x, y = min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))  # a crop always shows something
        view = cropped(_around(x, y, factor * (x1 - x0), factor * (y1 - y0)), self.size_px, height, width)
        steps: tuple[Step, ...] = ()
        if recolours < recipe.recolour:
            steps = (("brightness_contrast", 1 + CONTRAST * contrast, BRIGHTNESS * brightness),)
        return replace(view.mirrored() if flips < recipe.flip else view, colour=steps)


def cropped(crop_px: FloatBox, size_px: Size, height: int, width: int) -> View:
    """The view `size_px` of a rectangle that may reach outside its picture, and has to overlap it."""
    columns = _span(crop_px[0], crop_px[2], width, size_px[1])
    rows = _span(crop_px[1], crop_px[3], height, size_px[0])
    resized = (rows[2], columns[2])
    return View(
        size_px,
        (columns[0], rows[0], columns[1], rows[1]),
        resized,
        (0, 0, resized[1], resized[0]),
        pad_before_px=(rows[3], columns[3]),
        pad_px=(size_px[0] - rows[2] - rows[3], size_px[1] - columns[2] - columns[3]),
    )


def _around(x: float, y: float, width: float, height: float) -> FloatBox:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _span(first: float, last: float, side: int, shown: int) -> tuple[int, int, int, int]:
    """One axis of a crop: source pixels (from, to) inside the picture, and their (length, offset) in the view."""
    # At least a pixel of the picture is shown, and lies at least on a pixel of the view.
    start = min(max(round(first), 0), side - 1)
    stop = max(min(round(last), side), start + 1)
    scale = shown / (last - first)
    offset = 0 if start == round(first) else min(round((start - first) * scale), shown - 1)
    end = shown if stop == round(last) else round((stop - first) * scale)
    return start, stop, min(max(end - offset, 1), shown - offset), offset


def build(
    mode: str = "exact",
    k: int = 0,
    size: int | Sequence[int] = (256, 192),
    enlarge: float = 1.25,
    flip: bool | float | None = None,
    seed: int = 0,
    scale: Sequence[float] | None = None,
    shift: float | None = None,
    shift_probability: float | None = None,
    recolour: float | None = None,
) -> Persons:
    """The plan.

    Args:
        mode: `exact`, or `k` (needs `k`, the number of views of a person).
        k: see `mode`.
        size: (h, w) of a view, multiples of the image encoder's stride; a crop has its shape.
        enlarge: sides of the crop by those of the box.
        flip: exact: whether the mirror image is a second view (default no); k: probability of a flip (default 0.5).
        seed: of all that is drawn.
        scale, shift, shift_probability: of drawn views: smallest and largest size of the crop, largest share of its
            sides that it is moved by, and how probable that is.
        recolour: probability of a change of brightness and contrast in a drawn view.

    Raises:
        ConfigError: a number is missing, out of range, or not read in this mode.
    """
    size_px, drawn = sides("size", size), Drawn()
    changes = {"scale": scale, "shift": shift, "shift_probability": shift_probability, "recolour": recolour}
    changes = {name: value for name, value in changes.items() if value is not None}
    if mode not in ("exact", "k"):
        raise ConfigError(f"views persons: mode is {mode!r}; expected exact or k")
    if (type(k) is not int or k < 1) if mode == "k" else k:
        raise ConfigError(
            f"views persons: k is {k!r}; mode k needs it, for example k=8, and mode exact does not read it"
        )
    if mode == "exact" and (changes or seed or type(flip) not in (bool, type(None))):
        raise ConfigError(
            f"views persons: mode exact draws nothing; found flip={flip!r}, seed={seed!r} and {sorted(changes)}. It "
            "reads size, enlarge and flip (true or false)."
        )
    if enlarge < 1:
        raise ConfigError(f"views persons: enlarge is {enlarge}; expected at least 1")
    if mode == "k":
        if scale is not None:
            changes["scale"] = tuple(float(factor) for factor in scale)
        drawn = replace(drawn, **changes, **({} if flip is None else {"flip": float(flip)}))
        _check(drawn)
    return Persons(size_px, float(enlarge), k, bool(flip) if mode == "exact" else False, int(seed), drawn)


def _check(drawn: Drawn) -> None:
    if len(drawn.scale) != 2 or not 0 < drawn.scale[0] <= drawn.scale[1]:
        raise ConfigError(f"views persons: scale is {list(drawn.scale)}; expected the smallest and the largest factor")
    for name in ("shift", "shift_probability", "flip", "recolour"):
        if not 0 <= getattr(drawn, name) <= 1:
            raise ConfigError(f"views persons: {name} is {getattr(drawn, name)}; expected a number from 0 to 1")
