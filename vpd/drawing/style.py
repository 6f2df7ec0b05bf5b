"""What a person chooses about drawn and written predictions, and what the colours of a drawing mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """Choices of a person; a task reads what concerns it.

    Attributes:
        names: of the classes, in their order.
        sentence: what was asked.
        colormap: a name of `vpd.drawing.colormaps`.
        focal_px: focal length in pixels of the picture, for point clouds.
        fov_deg: in place of it: horizontal field of view.
        near_m, far_m: what the ends of depth's colours stand for; far_m 0: percentiles of the picture.
        colour: of a mask; None: the one that is seen best on the picture.
    """

    names: tuple[str, ...] = ()
    sentence: str = ""
    colormap: str = "dusk"
    focal_px: float = 0.0
    fov_deg: float = 0.0
    near_m: float = 0.0
    far_m: float = 0.0
    colour: Colour | None = None


PLAIN = Style()


@dataclass(frozen=True)
class Legend:
    """What a drawing shows, in words.

    Attributes:
        title: one line, also for a terminal; says so where nothing was found.
        entries: colours and what they stand for.
        ramp: colours `[N, 3]` of a scale, uint8, or None.
        ends: what the first and the last colour of the ramp stand for.
        empty: nothing was found.
    """

    title: str = ""
    entries: tuple[tuple[Colour, str], ...] = ()
    ramp: np.ndarray | None = None
    ends: tuple[str, str] = ("", "")
    empty: bool = False
