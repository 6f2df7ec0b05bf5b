"""Writes the synthetic world in the official layout of labelled NYUv2, so that the real source reads it.

Owns the two files; scenes come from `demo.world`. `nyu_depth_v2_labeled.mat` is a MATLAB v7.3 file as MATLAB writes it:
HDF5 behind a text header of 512 bytes, axes reversed, cells as references to UTF-16 texts. `splits.mat` is MATLAB v5
with numbers counted from 1. The layout and the odd sides of the real thing are those of
docs/methods/data_layouts.md#labelled-file: raw depth has holes and an unmeasured border, in-painted depth has none,
train and test frames are mixed.

A room's class says how far its back wall is, which the picture does not show: what the depth model is prompted with
carries information, and a model that ignores it stays worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from demo.world import LABELS, Rendering, Scene, draw_scene, render

SIZE_PX = (120, 160)
DEFAULT_IMAGES = {"train": 400, "test": 60}
ROOM_WALL_M = {"bathroom": 2.5, "kitchen": 3.5, "bedroom": 4.5, "office": 5.5, "dining_room": 6.5, "classroom": 8.0}
WALL_SPREAD = 0.05  # of a room's typical distance, either way
BORDER_PX = (3, 4)  # rows and columns at each edge that the depth camera does not see
_MATLAB_CLASSES = {"uint8": "uint8", "uint16": "uint16", "float32": "single"}


def write_nyuv2_world(root: str | Path, images: Mapping[str, int] = DEFAULT_IMAGES, seed: int = 0) -> Path:
    """Writes nyu_depth_v2_labeled.mat and splits.mat under `root` and returns it.

    `images` is the number of frames of "train" and "test". The same arguments give the same bytes. ValueError: another
    split, or fewer than one frame.
    """
    if set(images) != {"train", "test"} or min(images.values()) < 1:
        raise ValueError(f"images is {dict(images)}; expected at least one frame of train and of test")
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    total = sum(images.values())
    rooms = [room_of(index) for index in range(total)]
    frames = [frame_of(seed, index) for index in range(total)]
    _write_mat(root / "nyu_depth_v2_labeled.mat", frames, rooms)
    mixed = np.random.default_rng([seed, 1]).permutation(total) + 1
    _write_splits(root / "splits.mat", np.sort(mixed[: images["train"]]), np.sort(mixed[images["train"] :]))
    return root


def room_of(index: int) -> str:
    """Scene type of a frame counted from 0."""
    return list(ROOM_WALL_M)[index % len(ROOM_WALL_M)]


def frame_of(seed: int, index: int) -> tuple[Rendering, np.ndarray]:
    """(rendering, raw depth float32 [H, W] with 0 where the camera measured nothing) of a frame counted from 0."""
    random = np.random.default_rng([seed, 0, index])
    wall_m = ROOM_WALL_M[room_of(index)] * random.uniform(1 - WALL_SPREAD, 1 + WALL_SPREAD)
    rendering = render(moved(draw_scene(random, SIZE_PX), float(wall_m)))
    return rendering, rendering.depth_m * _measured(rendering, random)


def moved(scene: Scene, wall_m: float) -> Scene:
    """The same picture with its back wall at another distance, and everything in proportion."""
    scale = wall_m / scene.wall_m
    things = tuple(replace(thing, distance_m=thing.distance_m * scale) for thing in scene.things)
    return replace(scene, wall_m=wall_m, things=things)


def _measured(rendering: Rendering, random: np.random.Generator) -> np.ndarray:
    """bool [H, W]: not at the border, not in the shadow left of an object, not in some dark spots."""
    height, width = rendering.depth_m.shape
    rows, columns = np.mgrid[:height, :width]
    top, left = BORDER_PX
    seen = (rows >= top) & (rows < height - top) & (columns >= left) & (columns < width - left)
    objects = rendering.masks.any(0)
    seen &= objects | ~np.roll(objects, -3, axis=1)
    for y, x in random.uniform((0, 0), (height, width), (3, 2)):
        seen &= (rows - y) ** 2 + (columns - x) ** 2 > 5**2
    return seen


def _write_mat(path: Path, frames: Sequence[tuple[Rendering, np.ndarray]], rooms: Sequence[str]) -> None:
    arrays = {
        "images": np.stack([rendering.image.transpose(2, 1, 0) for rendering, _ in frames]),  # [N, 3, W, H]
        "depths": np.stack([rendering.depth_m.T for rendering, _ in frames]),  # [N, W, H]
        "rawDepths": np.stack([raw_m.T for _, raw_m in frames]),
        "labels": np.stack([rendering.labels.T for rendering, _ in frames]).astype(np.uint16),
        "instances": np.stack([_instances(rendering).T for rendering, _ in frames]),
        "accelData": np.zeros((4, len(frames)), np.float32),
    }
    stamp = [f"{1_300_000_000 + index}.{index % 1000:06d}-{index}" for index in range(len(frames))]
    scenes = [f"{room}_{index // len(ROOM_WALL_M):04d}" for index, room in enumerate(rooms)]
    cells = {
        "scenes": scenes,
        "sceneTypes": rooms,
        "rawDepthFilenames": [f"{scene}/d-{time}.pgm" for scene, time in zip(scenes, stamp, strict=True)],
        "rawRgbFilenames": [f"{scene}/r-{time}.ppm" for scene, time in zip(scenes, stamp, strict=True)],
        "names": LABELS[1:],
    }
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            chunks = (1, *array.shape[1:]) if name != "accelData" else None
            compression = "gzip" if chunks else None
            written = file.create_dataset(
                name, data=array, chunks=chunks, compression=compression, compression_opts=None
            )
            written.attrs["MATLAB_class"] = np.bytes_(_MATLAB_CLASSES[array.dtype.name])
        targets = file.create_group("#refs#")
        for name, texts in cells.items():
            _write_cell(file, targets, name, texts)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created by the demo of diffusion-perception HDF5 schema 1.00 ."
    with path.open("r+b") as raw:
        # 116 bytes of text, 8 of subsystem offset, version 0x0200 and the byte-order mark: as MATLAB begins its files
        raw.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")


def _write_cell(file: h5py.File, targets: h5py.Group, name: str, texts: Sequence[str]) -> None:
    cell = file.create_dataset(name, (1, len(texts)), h5py.ref_dtype)
    cell.attrs["MATLAB_class"] = np.bytes_(b"cell")
    for position, text in enumerate(texts):
        codes = np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None]  # [L, 1]
        target = targets.create_dataset(f"{name}{position:05d}", data=codes)
        target.attrs["MATLAB_class"] = np.bytes_(b"char")
        target.attrs["MATLAB_int_decode"] = np.int32(2)
        cell[0, position] = target.ref


def _instances(rendering: Rendering) -> np.ndarray:
    """uint8 [H, W]: number of the object among those of its shape, from 1; 0 for the room."""
    numbers = np.zeros(rendering.depth_m.shape, np.uint8)
    count: dict[int, int] = {}
    for mask in rendering.masks:
        if not mask.any():
            continue
        label = int(rendering.labels[mask][0])
        count[label] = count.get(label, 0) + 1
        numbers[mask] = count[label]
    return numbers


def _write_splits(path: Path, train: np.ndarray, test: np.ndarray) -> None:
    content: dict[str, Any] = {"trainNdxs": train, "testNdxs": test}
    scipy.io.savemat(path, {name: numbers.astype(np.uint16)[:, None] for name, numbers in content.items()})
    with path.open("r+b") as file:  # savemat writes the time of day into its header
        file.write(b"MATLAB 5.0 MAT-file, Created by the demo of diffusion-perception".ljust(116))
