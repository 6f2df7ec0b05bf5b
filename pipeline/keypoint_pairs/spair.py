"""SPair-71k (Min et al., 2019) as it is unpacked.

Layout       <root>/PairAnnotation/<split>/*.json   one pair a file: names and sizes of both pictures, category, points
             <root>/JPEGImages/<category>/<name>    pictures
Splits       trn, val, test

Owns reading and checking the annotations. A pair's file holds its points and boxes; ImageAnnotation, from which they
were made, is not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.files.entries import parse_json, read_bytes, taken
from pipeline.keypoint_pairs import KeypointPair, KeypointPairs, Point
from shards.errors import ConfigError, SourceError, did_you_mean

SPLITS = ("trn", "val", "test")


def build(root: str, split: str = "test", categories: Sequence[str] = (), limit: int = 0) -> SPair:
    """The pairs.

    Args:
        root: the folder SPair-71k.
        split: `trn`, `val` or `test`.
        categories: only of these, such as [cat, dog]; empty: of all 18.
        limit: only the first so many of each category; 0: all.

    Raises:
        ConfigError: no such split, or a category without a pair.
        SourceError: no annotations there, or one that is not as published.
    """
    if split not in SPLITS or limit < 0:
        hint = did_you_mean(split, SPLITS)
        raise ConfigError(
            f"spair: split {split!r}, limit {limit}; expected one of {', '.join(SPLITS)}, and 0 or more.{hint}"
        )
    folder = Path(root).expanduser() / "PairAnnotation" / split
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise SourceError(
            f"{folder}: holds no .json file; expected one a pair, as SPair-71k is unpacked. Name its folder, "
            "pairs.root=.../SPair-71k."
        )
    digest, found = hashlib.sha256(), dict[str, list[KeypointPair]]()
    for file in files:
        payload = read_bytes(file)
        digest.update(payload)
        pair = _pair(parse_json(payload, str(file)), Path(root).expanduser(), str(file))
        found.setdefault(pair.category, []).append(pair)
    for name in categories:
        if name not in found:
            raise ConfigError(
                f"spair: no pair of {split} is of the category {name!r}.{did_you_mean(name, found)} There are: "
                f"{', '.join(sorted(found))}."
            )
    chosen = [
        pair for name in sorted(found) if not categories or name in categories for pair in found[name][: limit or None]
    ]
    return SPair(chosen, f"spair {split} {sorted(categories)} {limit} {digest.hexdigest()[:16]}")


class SPair(KeypointPairs):
    """See the module; `build` makes one."""

    def __init__(self, pairs: Sequence[KeypointPair], identity: str) -> None:
        self._pairs, self._identity = pairs, identity

    def pairs(self) -> Sequence[KeypointPair]:
        return self._pairs

    @property
    def identity(self) -> str:
        return self._identity


def _pair(said: Any, root: Path, where: str) -> KeypointPair:
    category = taken(said, "category", str, where)
    pictures = root / "JPEGImages" / category
    points = {side: tuple(_points(said, f"{side}_kps", where)) for side in ("src", "trg")}
    if not points["src"] or len(points["src"]) != len(points["trg"]):
        raise SourceError(
            f"{where}: marks {len(points['src'])} points in the source and {len(points['trg'])} in the target; "
            "expected as many, and one at least."
        )
    sizes: dict[str, tuple[int, int]] = {}
    for side in ("src", "trg"):
        width, height, *_ = _numbers(taken(said, f"{side}_imsize", list, where), 2, f"{where}: {side}_imsize")
        sizes[side] = int(height), int(width)
        for x, y in points[side]:
            if not (0 <= x < width and 0 <= y < height):
                raise SourceError(
                    f"{where}: the point ({x:g}, {y:g}) lies outside its picture of {width:g} x {height:g}."
                )
    x0, y0, x1, y1 = _numbers(taken(said, "trg_bndbox", list, where), 4, f"{where}: trg_bndbox")[:4]
    if max(x1 - x0, y1 - y0) <= 0:
        raise SourceError(f"{where}: trg_bndbox is {[x0, y0, x1, y1]}; expected [x0, y0, x1, y1] with an extent.")
    return KeypointPair(
        pictures / taken(said, "src_imname", str, where),
        pictures / taken(said, "trg_imname", str, where),
        category,
        sizes["src"],
        sizes["trg"],
        points["src"],
        points["trg"],
        (x0, y0, x1, y1),
    )


def _points(said: Any, key: str, where: str) -> list[Point]:
    found = [_numbers(point, 2, f"{where}: {key}") for point in taken(said, key, list, where)]
    return [(x, y) for x, y, *_ in found]


def _numbers(values: Any, least: int, what: str) -> list[float]:
    """At least so many finite numbers."""
    right = isinstance(values, list) and len(values) >= least
    if not right or any(isinstance(v, bool) or not isinstance(v, int | float) or abs(v) > 1e9 for v in values):
        raise SourceError(f"{what}: is {values!r}; expected {least} numbers or more.")
    return [float(value) for value in values]
