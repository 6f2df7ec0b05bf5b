"""The written world is the official layout: the real source reads it, and finds what was drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from demo.nyuv2_world import ROOM_WALL_M, SIZE_PX, frame_of, room_of, write_nyuv2_world
from pipeline.sources.nyuv2.source import CLASS_NAMES, build

IMAGES = {"train": 8, "test": 4}
MAT = "nyu_depth_v2_labeled.mat"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nyuv2_world(tmp_path_factory.mktemp("world"), IMAGES, seed=3)


def hashes(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(root: Path, tmp_path: Path) -> None:
    assert hashes(write_nyuv2_world(tmp_path / "same", IMAGES, seed=3)) == hashes(root)
    assert hashes(write_nyuv2_world(tmp_path / "other", IMAGES, seed=4)) != hashes(root)


def test_the_source_finds_every_room_as_it_was_drawn(root: Path) -> None:
    raw, filled = build(root, form="mat"), build(root, form="mat", depth="filled")
    for split, count in IMAGES.items():
        assert raw.counts(split) == {"images": count}
        for key in raw.keys(split):
            rendering, raw_m = frame_of(3, int(key))
            example = raw.load(split, key)
            np.testing.assert_array_equal(example.image, rendering.image)
            assert example.image.shape[:2] == SIZE_PX
            for source, expected in ((raw, raw_m), (filled, rendering.depth_m)):
                found = source.load(split, key).labels["depth"]
                assert isinstance(found, np.ndarray)
                np.testing.assert_array_equal(found, expected)
            assert CLASS_NAMES[example.meta["class_id"]] == room_of(int(key))


def test_train_and_test_frames_are_mixed_counted_from_one_and_complete(root: Path) -> None:
    splits = scipy.io.loadmat(root / "splits.mat")
    train, test = splits["trainNdxs"], splits["testNdxs"]
    assert (train.shape, test.shape, train.dtype) == ((8, 1), (4, 1), np.uint16)
    assert sorted([*train[:, 0], *test[:, 0]]) == list(range(1, 13))
    assert train.max() > test.min()
    assert test.max() > train.min()


def test_the_file_begins_and_is_laid_out_as_matlab_writes_it(root: Path, realdata: Path) -> None:
    header = (root / MAT).read_bytes()[:128]
    assert header.startswith(b"MATLAB 7.3 MAT-file")
    assert header[124:] == b"\x00\x02IM"
    with h5py.File(root / MAT) as ours, h5py.File(realdata / "nyuv2" / MAT) as official:
        assert ours.userblock_size == official.userblock_size == 512
        for name in set(official) - {"#refs#", "#subsystem#", "namesToIds"}:
            one, other = ours[name], official[name]
            assert isinstance(one, h5py.Dataset)
            assert isinstance(other, h5py.Dataset)
            assert (one.dtype, one.ndim) == (other.dtype, other.ndim), name
            assert one.attrs["MATLAB_class"] == other.attrs["MATLAB_class"], name
        scenes: Any = ours["scenes"]
        text: Any = ours[scenes[0, 0]]
        assert (text.dtype, text.ndim, text.attrs["MATLAB_class"]) == (np.uint16, 2, b"char")


def test_raw_depth_has_holes_and_a_border_and_elsewhere_equals_the_filled_one() -> None:
    for index in range(12):
        rendering, raw_m = frame_of(0, index)
        missing = raw_m == 0
        assert missing[:3].all()
        assert missing[:, -4:].all()
        assert 0.08 < missing.mean() < 0.4
        assert (rendering.depth_m > 0).all()
        np.testing.assert_array_equal(raw_m[~missing], rendering.depth_m[~missing])


def test_a_rooms_class_says_how_far_its_wall_is() -> None:
    far = {room: [] for room in ROOM_WALL_M}
    for index in range(60):
        far[room_of(index)].append(frame_of(1, index)[0].depth_m.max())
    means = {room: float(np.mean(values)) for room, values in far.items()}
    assert means == {room: pytest.approx(wall_m, rel=0.1) for room, wall_m in ROOM_WALL_M.items()}
    assert set(ROOM_WALL_M) <= set(CLASS_NAMES)


@pytest.mark.parametrize("images", [{"train": 3}, {"train": 3, "test": 0}, {"train": 1, "test": 1, "val": 1}])
def test_splits_that_the_file_does_not_have_are_refused(tmp_path: Path, images: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        write_nyuv2_world(tmp_path, images)
