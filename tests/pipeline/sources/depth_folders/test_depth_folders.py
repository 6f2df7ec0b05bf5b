"""A user's own depth: units, missing values, sizes, scenes, and a declaration that the files contradict."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from pipeline.sources.depth_folders import build
from shards.contract.lengths import per_metre
from shards.errors import ConfigError, Reject, SourceError
from vpd.tasks.depth.labels import metres

METRES = np.linspace(1.0, 4.0, 48).reshape(6, 8)


def written(
    root: Path, depth: np.ndarray, stem: str = "a", size: tuple[int, int] = (6, 8), suffix: str = ".png"
) -> Path:
    for folder in ("images/train", "depths/train"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(root / f"images/train/{stem}.png")
    if suffix == ".npy":
        np.save(root / f"depths/train/{stem}.npy", depth)
    else:
        Image.fromarray(depth.astype(np.uint16)).save(root / f"depths/train/{stem}{suffix}")
    return root


def source(root: Path, units: float = 1000, max_depth_m: float = 10, **options: Any) -> Any:
    return build(root, units, max_depth_m, splits=["train"], **options)


def stored_m(made: Any, key: str = "a") -> np.ndarray:
    """What training reads of the record: metres, float32."""
    label, field = made.load("train", key).labels["depth"], made.label_fields[0]
    stored = label if field.codec == "npy" else np.asarray(Image.open(io.BytesIO(label))).astype(np.uint16)
    return metres(stored, per_metre(field))


@pytest.mark.parametrize("units", [1000, 5000, 4000, 256])
def test_the_file_s_own_numbers_are_stored_with_their_unit(units: int, tmp_path: Path) -> None:
    numbers = np.rint(METRES * units)
    numbers[0, 0] = 0
    made = source(written(tmp_path, numbers), units)
    png = np.asarray(Image.open(io.BytesIO(made.load("train", "a").labels["depth"])))
    assert np.array_equal(png, numbers)
    assert np.array_equal(stored_m(made), numbers.astype(np.float32) / np.float32(units))


def test_floats_are_stored_as_metres_and_what_is_no_measurement_is_0(tmp_path: Path) -> None:
    depth_m = METRES.astype(np.float32)
    depth_m[0, :5] = np.nan, np.inf, -1, -9999, 20
    made = source(written(tmp_path, depth_m, suffix=".npy"), 1, depth_suffix=".npy", invalid=[1.5, 0])
    found = stored_m(made)
    assert made.label_fields[0].codec == "npy"
    assert not found[0, :5].any()
    assert np.array_equal(found[1:], depth_m[1:])


def test_declared_invalid_values_and_the_range_are_left_out(tmp_path: Path) -> None:
    numbers = np.rint(METRES * 1000)
    numbers[0, :3] = 65535, 200, 7777
    found = stored_m(source(written(tmp_path, numbers), min_depth_m=0.5, max_depth_m=10, invalid=[65535, 7777]))
    assert not found[0, :3].any()
    assert (found[1:] > 0).all()


def test_sun_rgbd_files_are_turned_back(tmp_path: Path) -> None:
    millimetres = np.rint(METRES * 1000).astype(np.uint16)
    millimetres[0, 0] = 9001  # beyond 13 bits
    file = millimetres << np.uint16(3) | millimetres >> np.uint16(13)
    made = source(written(tmp_path, file), bits="sun_rgbd")
    assert np.array_equal(stored_m(made), millimetres.astype(np.float32) / np.float32(1000))
    with pytest.raises(SourceError, match=r"the median depth of 1 files .* m, outside the declared 0 to 10 m"):
        source(tmp_path).notices("train")


def test_distances_along_the_ray_and_disparities_become_depth(tmp_path: Path) -> None:
    ray = source(written(tmp_path / "r", np.full((6, 8), 3000)), distance="ray", focal_px=4.0)
    found = stored_m(ray)
    assert found.max() == pytest.approx(3 * 4 / np.sqrt(0.5**2 + 0.5**2 + 16))
    assert found[0, 0] == pytest.approx(3 * 4 / np.sqrt(2.5**2 + 3.5**2 + 16))
    disparity = source(
        written(tmp_path / "d", np.full((6, 8), 40.0, np.float32), suffix=".npy"), 1, depth_suffix=".npy",
        distance="disparity", focal_px=1000, baseline_m=0.2, doffs_px=10,
    )  # fmt: skip
    assert stored_m(disparity)[0, 0] == pytest.approx(4.0)


def test_a_unit_that_the_files_contradict_is_refused_with_the_medians_of_others(tmp_path: Path) -> None:
    root = written(tmp_path, np.rint(METRES * 5000))
    with pytest.raises(SourceError, match=r"median depth of 1 files .* is 12\.5 m,.*1/5000 m 2\.5 \(inside"):
        source(root, 1000).notices("train")
    assert "median 2.500" in source(root, 5000).notices("train")[0]


def test_what_is_odd_is_said_aloud(tmp_path: Path) -> None:
    numbers = np.rint(METRES * 1000)
    numbers[0, 0], numbers[1, :2] = 65535, 30_000
    root = written(tmp_path, numbers)
    written(root, numbers, "b")
    (root / "depths/train/b.png").unlink()
    lines = "\n".join(source(root, max_depth_m=10).notices("train"))
    assert "1 of 48 numbers are 65535, the end of 16 bits" in lines
    assert "6.2% of the measurements are beyond max_depth_m" in lines
    assert "1 pictures have no depth" in lines


def test_files_without_a_unit_are_refused_before_the_build(tmp_path: Path) -> None:
    root = written(tmp_path, METRES)
    Image.fromarray(np.full((6, 8), 9, np.uint8)).save(root / "depths/train/a.png")
    with pytest.raises(SourceError, match=r"none of 1 depth files can be read.*relative depth, which has no unit"):
        source(root).notices("train")
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(root / "depths/train/a.png")
    with pytest.raises(SourceError, match=r"no pixel of 1 files in .*depths/train is a measurement"):
        source(root).notices("train")
    with pytest.raises(Reject, match="has no measurement from 0 to 10 m"):
        source(root).load("train", "a")


def test_other_sizes_are_a_reject_or_resized_as_declared(tmp_path: Path) -> None:
    root = written(tmp_path, np.rint(METRES * 1000), size=(12, 16))
    with pytest.raises(Reject, match=r"is 12 x 16, its depth .* 6 x 8 \(height x width\); they must be of one size"):
        source(root).load("train", "a")
    assert source(root, resize="picture").load("train", "a").image.shape == (6, 8, 3)
    larger = stored_m(source(root, resize="depth"))
    assert np.array_equal(larger, np.repeat(np.repeat(stored_m(source(root, resize="picture")), 2, 0), 2, 1))
    written(root, METRES * 1000, size=(12, 12))
    with pytest.raises(Reject, match="of another shape, so of another view"):
        source(root, resize="depth").load("train", "a")


def test_scene_classes_are_one_a_file_s_or_the_mean(tmp_path: Path) -> None:
    root = written(tmp_path, METRES * 1000)
    written(root, METRES * 1000, "b")
    (root / "scenes.csv").write_text("\ufefffile, scene\na.png, bedroom\n")

    def ids(**options: Any) -> list[int]:
        made = pickle.loads(pickle.dumps(source(root, **options)))
        return [made.load("train", key).meta["class_id"] for key in "ab"]

    assert ids() == [0, 0]
    assert ids(classes=["kitchen", "bedroom"]) == [-1, -1]
    assert ids(classes=["kitchen", "bedroom"], scenes="scenes.csv") == [1, -1]
    with pytest.raises(SourceError, match="line 2: scene 'bedroom' is none of the classes"):
        source(root, scenes="scenes.csv")
    (root / "scenes.csv").write_text("name\na\n")
    with pytest.raises(SourceError, match=r"its header is \['name'\]; expected the columns file and scene"):
        source(root, scenes="scenes.csv")


def test_picture_and_depth_of_one_hdf5_file(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with h5py.File(tmp_path / "train/1.h5", "w") as file:
        file["rgb"], file["depth"] = np.full((3, 6, 8), 7, np.uint8), METRES.astype(np.float32)
    made = build(
        tmp_path, 1, 10, splits=["train"], depths="{split}", depth_suffix=".h5", key="depth", image_key="rgb"
    )  # fmt: skip
    assert made.load("train", "1").image.shape == (6, 8, 3)
    np.testing.assert_array_equal(stored_m(made, "1"), METRES.astype(np.float32))


def test_a_list_of_arrays_must_say_that_they_are(tmp_path: Path) -> None:
    """Stored as the PNGs that the suffix announces, their metres would be rounded to whole ones."""
    written(tmp_path, METRES, suffix=".npy")
    (tmp_path / "train.txt").write_text("images/train/a.png depths/train/a.npy\n")
    with pytest.raises(Reject, match=r"a\.npy is no PNG; declare depth_suffix: \.npy"):
        build(tmp_path, 1, 10, lists={"train": "train.txt"}).load("train", "images%2Ftrain%2Fa")
    made = build(tmp_path, 1, 10, lists={"train": "train.txt"}, depth_suffix=".npy")
    assert np.array_equal(stored_m(made, "images%2Ftrain%2Fa"), METRES.astype(np.float32))


def test_identity_tells_declarations_apart_and_not_places(tmp_path: Path) -> None:
    roots = [written(tmp_path / name, METRES * 1000) for name in ("one", "two")]
    first, second = (source(root).identity("train") for root in roots)
    assert first == second
    assert str(tmp_path) not in str(first)
    assert source(roots[0], 999).identity("train") != first


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"units": 0}, "units_per_metre is 0; expected 1 for metres, 1000"),
        ({"max_depth_m": 0.5, "min_depth_m": 1}, "expected 0 <= min < max"),
        ({"bits": "rotated"}, "bits is 'rotated'; expected one of plain, sun_rgbd"),
        ({"distance": "disparity", "focal_px": 700}, "baseline_m is 0.0. Without calibration it is no depth in metres"),
        ({"distance": "ray"}, "distance ray needs focal_px"),
        ({"resize": "both"}, "resize is 'both'"),
        ({"depths": "images/{split}"}, "the picture and its depth are both in"),
        ({"classes": [2024]}, "Quote it: '2024'"),
    ],
)
def test_impossible_declarations_are_refused(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        source(tmp_path, **options)
