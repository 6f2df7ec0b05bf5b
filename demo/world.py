"""A room with a few coloured objects, and everything a dataset could ask of it.

Owns the scene (what stands where) and its rendering to picture, depth, labels and instance outlines. Leaves words to
`demo.phrases` and files to the writers (`demo.refcoco_world`, ...). A scene is a pure function of its random generator.

Geometry: a camera looks level into the room. The wall is a plane at `wall_m`; the floor meets it in row `floor_row`
and comes towards the camera, so a floor pixel lies at wall_m * (floor_row - horizon) / (row - horizon). Objects are
flat and parallel to the wall, each at its own `distance_m`: on the floor where their foot is, or hung before the wall.
A pole from ceiling to ground may stand in front of an object and cut its outline in two; pebbles on the floor have no
outline worth drawing (COCO's crowds).

Units: pixels with x to the right and y down, metres along the viewing axis. Shapes: H, W = size of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (225, 25, 30),
    "green": (25, 165, 50),
    "blue": (30, 60, 225),
    "yellow": (245, 220, 25),
    "purple": (150, 40, 190),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "cross")
LABELS = ("nothing", "wall", "floor", "pole", "pebbles", *SHAPES)  # position = value in the label map; 0 never occurs
SIZES_PX = ((120, 160), (144, 192), (160, 160), (180, 240), (192, 160), (240, 320))  # (height, width)

Point = tuple[float, float]
Polygon = list[Point]


@dataclass(frozen=True)
class Thing:
    """One object. `radius` is half the side of its bounding box."""

    shape: str
    colour: str
    size: str  # "small" or "big"
    x: float
    y: float
    radius: float
    distance_m: float

    def outline(self) -> Polygon:
        if self.shape == "circle":
            unit = [(math.cos(2 * math.pi * k / 32), math.sin(2 * math.pi * k / 32)) for k in range(32)]
        elif self.shape == "square":
            unit = [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
        elif self.shape == "triangle":
            unit = [(0.0, -1.0), (1.0, 0.9), (-1.0, 0.9)]
        else:
            a = 0.38
            unit = [(-a, -1.0), (a, -1.0), (a, -a), (1.0, -a), (1.0, a), (a, a)]
            unit += [(-x, -y) for x, y in unit]
        return [(self.x + self.radius * u, self.y + self.radius * v) for u, v in unit]


@dataclass(frozen=True)
class Scene:
    height: int
    width: int
    wall_grey: int
    floor_grey: int
    floor_row: float
    horizon: float
    wall_m: float
    things: tuple[Thing, ...]
    pole_px: tuple[float, float] | None  # left and right edge
    pebbles: tuple[Point, ...]
    noise_seed: int

    @property
    def pole_m(self) -> float:
        return 0.8 * min(thing.distance_m for thing in self.things)

    def parts(self, thing: Thing) -> list[Polygon]:
        """The visible outline: one polygon, or the two that the pole leaves."""
        outline = thing.outline()
        if self.pole_px is None:
            return [outline]
        left = _clip(outline, self.pole_px[0], keep_left=True)
        right = _clip(outline, self.pole_px[1], keep_left=False)
        return [part for part in (left, right) if len(part) >= 3]


@dataclass(frozen=True)
class Rendering:
    image: np.ndarray  # uint8 [H, W, 3]
    depth_m: np.ndarray  # float32 [H, W]
    labels: np.ndarray  # uint8 [H, W], positions in LABELS
    masks: np.ndarray  # bool [things, H, W], visible pixels
    pebbles: np.ndarray  # bool [H, W]


def draw_scene(random: np.random.Generator, size_px: tuple[int, int] | None = None) -> Scene:
    """A random room with 2 to 5 objects that do not touch; of one of SIZES_PX, or of the given (height, width)."""
    height, width = SIZES_PX[random.integers(len(SIZES_PX))] if size_px is None else size_px
    floor_row = height * random.uniform(0.5, 0.7)
    horizon = height * random.uniform(0.3, 0.4)
    wall_m = float(random.uniform(3.0, 7.0))
    things: list[Thing] = []
    wanted = int(random.integers(2, 5))
    for _ in range(200):
        if len(things) == wanted:
            break
        size = ("small", "big")[random.integers(2)]
        radius = min(height, width) * random.uniform(*((0.13, 0.155) if size == "small" else (0.21, 0.25)))
        x = random.uniform(radius + 2, width - radius - 2)
        y = random.uniform(radius + 2, height - radius - 2)
        if any(max(abs(x - t.x), abs(y - t.y)) < 1.1 * (radius + t.radius) for t in things):
            continue
        # Repeating an earlier colour or shape is what makes size and place words necessary.
        twin = things[random.integers(len(things))] if things and random.random() < 0.5 else None
        colour = twin.colour if twin else list(COLOURS)[random.integers(len(COLOURS))]
        shape = twin.shape if twin and random.random() < 0.5 else SHAPES[random.integers(len(SHAPES))]
        # What reaches the floor stands on it, where its foot is; what does not hangs a little before the wall.
        foot = y + radius
        hangs_m = wall_m * random.uniform(0.85, 0.95)
        distance_m = wall_m * (floor_row - horizon) / (foot - horizon) if foot > floor_row else hangs_m
        things.append(Thing(shape, colour, size, float(x), float(y), float(radius), float(distance_m)))

    pole = None
    if random.random() < 0.3:
        hidden = max(things, key=lambda thing: thing.radius)
        half = 0.12 * hidden.radius + 1
        pole = (hidden.x - half, hidden.x + half)
    pebbles: tuple[Point, ...] = ()
    if random.random() < 0.3:
        centre = (random.uniform(0.2, 0.8) * width, random.uniform(0.85, 0.95) * height)
        spread = random.normal(0, (0.06 * width, 0.02 * height), size=(14, 2))  # [pebbles, 2]
        pebbles = tuple((float(centre[0] + dx), float(centre[1] + dy)) for dx, dy in spread)
    return Scene(
        height=height,
        width=width,
        wall_grey=int(random.integers(120, 170)),
        floor_grey=int(random.integers(70, 105)),
        floor_row=float(floor_row),
        horizon=float(horizon),
        wall_m=wall_m,
        things=tuple(things),
        pole_px=pole,
        pebbles=pebbles,
        noise_seed=int(random.integers(2**31)),
    )


def render(scene: Scene) -> Rendering:
    """Far to near: room, pebbles, objects, pole."""
    size = (scene.height, scene.width)
    rows = np.arange(scene.height)[:, None] + 0.5  # [H, 1]
    columns = np.arange(scene.width)[None, :] / scene.width  # [1, W]
    is_floor = np.broadcast_to(rows > scene.floor_row, size)
    below = np.maximum(rows, scene.floor_row) - scene.horizon
    depth_m = np.array(np.broadcast_to(scene.wall_m * ((scene.floor_row - scene.horizon) / below), size), np.float32)
    labels = np.where(is_floor, LABELS.index("floor"), LABELS.index("wall")).astype(np.uint8)
    grey = np.where(is_floor, scene.floor_grey + 40 * (rows - scene.floor_row) / scene.height, scene.wall_grey)
    canvas = np.repeat((grey + 20 * (columns - 0.5))[..., None], 3, axis=2)  # float [H, W, 3]

    pebbles = np.zeros(size, dtype=bool)
    for x, y in scene.pebbles:
        pebbles |= _fill([(x - 2, y), (x, y - 1.5), (x + 2, y), (x, y + 1.5)], size)
    canvas[pebbles] = 40
    labels[pebbles] = LABELS.index("pebbles")

    covered = np.zeros(size, dtype=bool)
    if scene.pole_px is not None:
        left, right = scene.pole_px
        covered = _fill([(left, -1), (right, -1), (right, scene.height), (left, scene.height)], size)
    masks = np.zeros((len(scene.things), *size), dtype=bool)  # [things, H, W]
    for mask, thing in zip(masks, scene.things, strict=True):
        mask[:] = _fill(thing.outline(), size) & ~covered
        light = 1 - 0.12 * (rows - thing.y) / thing.radius * np.ones_like(columns)  # [H, W], brighter on top
        canvas[mask] = np.asarray(COLOURS[thing.colour]) * light[mask][:, None]
        depth_m[mask] = thing.distance_m
        labels[mask] = LABELS.index(thing.shape)
    canvas[covered] = 25
    labels[covered] = LABELS.index("pole")
    if scene.pole_px is not None:
        depth_m[covered] = np.minimum(depth_m[covered], scene.pole_m)

    noise = np.random.default_rng(scene.noise_seed).normal(0, 4, canvas.shape)
    image = np.clip(np.rint(canvas + noise), 0, 255).astype(np.uint8)  # [H, W, 3]
    visible = masks.any(axis=0) | covered
    return Rendering(image, depth_m, labels, masks, pebbles & ~visible)


def _fill(polygon: Polygon, size: tuple[int, int]) -> np.ndarray:
    """bool [H, W]: drawn at four times the size, so that a pixel belongs where its centre does."""
    scale = 4
    sheet = Image.new("1", (size[1] * scale, size[0] * scale))
    ImageDraw.Draw(sheet).polygon([(x * scale, y * scale) for x, y in polygon], fill=1)
    return np.asarray(sheet)[scale // 2 :: scale, scale // 2 :: scale].copy()


def _clip(polygon: Polygon, edge_x: float, keep_left: bool) -> Polygon:
    """The part of a polygon on one side of a vertical line."""
    kept: Polygon = []
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        a_inside, b_inside = (ax <= edge_x) == keep_left, (bx <= edge_x) == keep_left
        if a_inside:
            kept.append((ax, ay))
        if a_inside != b_inside:
            kept.append((edge_x, ay + (by - ay) * (edge_x - ax) / (bx - ax)))
    return kept
