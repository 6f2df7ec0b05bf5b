"""What is said about a scene: one sentence about its room and some or all of its objects.

Owns the sentences and the words the tiny text encoder knows whole. Phrases of single objects are those of
`demo.phrases`, so what a chapter asks for later was said in pre-training, about other pictures.
"""

from __future__ import annotations

import numpy as np

from demo import tiny_sd
from demo.nyuv2_world import ROOM_WALL_M
from demo.phrases import phrases_for
from demo.world import Scene

ROOM_WORDS = tuple(dict.fromkeys(word for room in ROOM_WALL_M for word in room.split("_")))
WORDS = (*tiny_sd.WORDS, "and", "with", *ROOM_WORDS)


def caption_of(scene: Scene, random: np.random.Generator) -> str:
    """A sentence; the same scene gets another one each time.

    An object that no phrase fits alone is called by its colour and shape: a caption may fit two objects.
    """
    order = random.permutation(len(scene.things))[: int(random.integers(1, len(scene.things) + 1))]
    parts = []
    for index in order:
        thing = scene.things[index]
        phrases = phrases_for(int(index), scene, random, limit=1)
        parts.append(phrases[0] if phrases else f"{thing.colour} {thing.shape}")
    if scene.pole_px is not None and random.random() < 0.7:
        parts.append("a pole")
    if scene.pebbles and random.random() < 0.7:
        parts.append("pebbles on the floor")
    start = ("", "a photo of ", "a room with ", "a photo of a room with ")[random.integers(4)]
    return start + " and ".join(parts)
