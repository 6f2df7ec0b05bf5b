"""Words for the objects of a scene: what each word means, and phrases that fit exactly one object.

Owns the vocabulary. `referents` is the judge: it reads a phrase back and lists every object it fits, so a writer can
prove that a phrase is unambiguous and a test can prove it again.

A place word is absolute: "left" means a centre in the left 42 hundredths of the picture, and so on for right, top and
bottom.
"""

from __future__ import annotations

import numpy as np

from demo.world import COLOURS, SHAPES, Scene, Thing

SIZES = ("small", "big")
PLACES = ("left", "right", "top", "bottom")
FILLERS = ("the", "thing", "one", "on", "at", "in")
VOCABULARY = (*COLOURS, *SHAPES, *SIZES, *PLACES, *FILLERS)

TEMPLATES = (
    "the {colour} {shape}",
    "{colour} {shape}",
    "{colour} thing",
    "the {shape}",
    "the {size} {colour} {shape}",
    "{size} {colour} one",
    "{colour} {shape} on the {side}",
    "{side} {colour} thing",
    "{colour} {shape} at the {level}",
    "{level} {shape}",
    "the {size} {shape} on the {side}",
)
MARGIN = 0.42


def referents(phrase: str, scene: Scene) -> list[int]:
    """Positions in `scene.things` of all objects that the phrase fits. ValueError: a word outside the vocabulary."""
    words = phrase.lower().split()
    if unknown := [word for word in words if word not in VOCABULARY]:
        raise ValueError(f"{phrase!r}: unknown words {unknown}; known: {', '.join(VOCABULARY)}")
    return [
        index
        for index, thing in enumerate(scene.things)
        if all(word in FILLERS or word in _properties(thing, scene) for word in words)
    ]


def phrases_for(index: int, scene: Scene, random: np.random.Generator, limit: int = 3) -> list[str]:
    """Up to `limit` different phrases that fit object `index` and nothing else; may be empty."""
    thing = scene.things[index]
    places = _places(thing, scene)
    words = {"colour": thing.colour, "shape": thing.shape, "size": thing.size}
    side = next((place for place in places if place in ("left", "right")), None)
    level = next((place for place in places if place in ("top", "bottom")), None)
    candidates = [
        template.format(**words, side=side, level=level)
        for template in TEMPLATES
        if (side or "{side}" not in template) and (level or "{level}" not in template)
    ]
    fitting = [phrase for phrase in candidates if referents(phrase, scene) == [index]]
    order = random.permutation(len(fitting))[:limit]
    return [fitting[position] for position in order]


def _properties(thing: Thing, scene: Scene) -> set[str]:
    return {thing.colour, thing.shape, thing.size, *_places(thing, scene)}


def _places(thing: Thing, scene: Scene) -> list[str]:
    x, y = thing.x / scene.width, thing.y / scene.height
    found = {"left": x < MARGIN, "right": x > 1 - MARGIN, "top": y < MARGIN, "bottom": y > 1 - MARGIN}
    return [place for place, holds in found.items() if holds]
