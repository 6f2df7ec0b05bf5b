"""Layouts of depth, made on the spot: no unit is taken from a file that does not say it, and what is found is right."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from folders_of_people import H, W, depth, metres, photo, save, sixteen_bits
from PIL import Image

from pipeline.layouts import depth as layouts
from pipeline.sources import depth_folders
from shards.contract.lengths import per_metre
from shards.errors import ConfigError, SourceError


def values(guess: Any) -> dict[str, Any]:
    return {name: option.value for name, option in guess.options.items()}


def read(root: Path, images: str = "rgb", depths: str = "depth", **given: Any) -> tuple[Any, np.ndarray]:
    """The guess, and the metres of its source's first picture of training."""
    guess = layouts.look(str(root / images), str(root / depths), given)
    source = depth_folders.build(guess.root, **(values(guess) | given))
    stored: Any = source.load("train", source.keys("train")[0]).labels["depth"]
    if isinstance(stored, bytes):
        stored = np.asarray(Image.open(io.BytesIO(stored))).astype(np.float64) / per_metre(source.label_fields[0])
    return guess, stored


def median(depth_m: np.ndarray) -> float:
    return float(np.median(depth_m[depth_m > 0]))


def test_sixteen_bits_say_no_unit_and_all_medians_are_told(tmp_path: Path) -> None:
    depth(tmp_path, sixteen_bits(5000), ".png")
    with pytest.raises(
        SourceError,
        match=r"no depth file says its unit.*millimetres 13\.\d+ m.*1/5000 m 2\.7.*source\.units_per_metre=",
    ):
        layouts.look(str(tmp_path / "rgb"), str(tmp_path / "depth"), {})
    guess, depth_m = read(tmp_path, units_per_metre=5000)
    assert median(depth_m) == pytest.approx(np.median(metres(0)[metres(0) > 0]), abs=1e-3)
    assert guess.max_depth_m == 5.0


@pytest.mark.parametrize("name", ["units_per_metre", "max_depth_m"])
def test_words_where_a_number_is_expected_are_named(name: str, tmp_path: Path) -> None:
    depth(tmp_path, sixteen_bits(1000), ".png")
    with pytest.raises(ConfigError, match=rf"source\.{name}=many: expected a number"):
        layouts.look(str(tmp_path / "rgb"), str(tmp_path / "depth"), {"units_per_metre": 1000, name: "many"})


def test_hypersim_s_focal_length_is_that_of_the_size(tmp_path: Path) -> None:
    def write(path: Path, number: int) -> None:
        with h5py.File(path, "w") as file:
            file["dataset"] = metres(number)

    depth(tmp_path, write, ".depth_meters.hdf5")
    guess, _ = read(tmp_path)
    assert guess.options["focal_px"].value == pytest.approx(886.81 * W / 1024, abs=0.01)


def test_rotated_bits_are_suspected_and_read_as_declared(tmp_path: Path) -> None:
    depth(tmp_path, sixteen_bits(1000, rotate=True), ".png")
    with pytest.raises(SourceError, match=r"SUN RGB-D's bits 2\.7.*source\.bits=sun_rgbd source\.units_per_metre=1000"):
        layouts.look(str(tmp_path / "rgb"), str(tmp_path / "depth"), {})
    _, depth_m = read(tmp_path, units_per_metre=1000, bits="sun_rgbd")
    assert median(depth_m) == pytest.approx(np.median(metres(0)[metres(0) > 0]), abs=1e-3)


def test_floats_of_the_size_of_a_room_are_taken_for_metres_and_it_is_said(tmp_path: Path) -> None:
    guess, depth_m = read(depth(tmp_path, lambda path, n: np.save(path, metres(n)), ".npy"))
    assert (values(guess)["units_per_metre"], values(guess)["depth_suffix"]) == (1, ".npy")
    assert guess.options["units_per_metre"].why.startswith("a guess")
    assert np.array_equal(depth_m, metres(0))


def test_floats_that_are_no_metres_are_asked_about(tmp_path: Path) -> None:
    depth(tmp_path, lambda path, n: np.save(path, 1000 * metres(n)), ".npy")
    with pytest.raises(SourceError, match="no depth file says its unit"):
        layouts.look(str(tmp_path / "rgb"), str(tmp_path / "depth"), {})


def test_floats_up_to_1_are_no_metres(tmp_path: Path) -> None:
    depth(tmp_path, lambda path, n: np.save(path, metres(n) / metres(n).max()), ".npy")
    with pytest.raises(SourceError, match="no depth file says its unit"):
        layouts.look(str(tmp_path / "rgb"), str(tmp_path / "depth"), {})


def test_a_picture_larger_than_its_depth_is_made_as_small(tmp_path: Path) -> None:
    guess, depth_m = read(
        depth(tmp_path, lambda path, n: np.save(path, metres(n)), ".npy", size=(2 * H, 2 * W)),
    )
    assert values(guess)["resize"] == "picture"
    assert depth_m.shape == (H, W)


def write_pfm(path: Path, values: np.ndarray) -> None:
    path.write_bytes(b"Pf\n%d %d\n-1.0\n" % (W, H) + values[::-1].astype("<f4").tobytes())


def stereo(root: Path, calibration: str) -> Path:
    photo(root / "im0.png")
    write_pfm(root / "disp0.pfm", 100 * 0.2 / np.where(metres(0) > 0, metres(0), np.inf) * 10)
    if calibration:
        (root / "calib.txt").write_text(calibration)
    return root


def test_disparity_needs_its_calibration(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"without calibration it is no depth in metres.*source\.focal_px=PIXELS"):
        layouts.look(str(stereo(tmp_path, "")), str(tmp_path), {})


def test_disparity_beside_its_calibration_is_distance(tmp_path: Path) -> None:
    stereo(tmp_path, "cam0=[1000 0 16; 0 1000 12; 0 0 1]\ndoffs=0\nbaseline=200\n")
    guess, depth_m = read(tmp_path, ".", ".")
    assert (values(guess)["focal_px"], values(guess)["baseline_m"]) == (1000.0, 0.2)
    assert median(depth_m) == pytest.approx(np.median(metres(0)[metres(0) > 0]), abs=1e-3)


def test_scenes_with_calibrations_of_their_own_are_not_read_by_the_first_one_s(tmp_path: Path) -> None:
    for scene, focal_px in (("a", 1000), ("b", 2000)):
        stereo(tmp_path / scene, f"cam0=[{focal_px} 0 16; 0 1000 12; 0 0 1]\ndoffs=0\nbaseline=200\n")
    with pytest.raises(SourceError, match="their folders have 2 calibrations"):
        layouts.look(str(tmp_path), str(tmp_path), {})


def write_h5(path: Path, picture: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["rgb"], file["depth"] = picture, metres(0)


def test_picture_and_depth_of_one_hdf5_file(tmp_path: Path) -> None:
    for name in "abc":
        write_h5(tmp_path / f"{name}.h5", np.zeros((3, H, W), np.uint8))
    guess, depth_m = read(tmp_path, ".", ".")
    assert (values(guess)["key"], values(guess)["image_key"]) == ("depth", "rgb")
    assert np.array_equal(depth_m, metres(0))


def test_pictures_of_floats_are_refused_by_name(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", np.ones((3, H, W)))
    with pytest.raises(SourceError, match=r"its pictures \(rgb\) are float64; expected uint8"):
        layouts.look(str(tmp_path), str(tmp_path), {})


@pytest.mark.parametrize(
    ("write", "suffix", "says"),
    [
        (lambda path, n: save(path, metres(n).astype(np.uint8)), ".png", "relative depth, which has no unit"),
        (lambda path, n: path.write_bytes(b"v/1"), ".exr", "OpenEXR, which is not read here"),
        (lambda path, n: np.save(path, 0 * metres(n)), ".npy", "nothing is measured"),
    ],
)
def test_what_is_no_depth_is_refused(write: Any, suffix: str, says: str, tmp_path: Path) -> None:
    depth(tmp_path, write, suffix)
    with pytest.raises(SourceError, match=says):
        layouts.look(str(tmp_path / "rgb"), str(tmp_path / "depth"), {})


def test_a_mask_of_valid_pixels_is_no_depth(tmp_path: Path) -> None:
    """DIODE's three files for each picture."""
    for number in range(3):
        photo(tmp_path / f"{number}.png")
        np.save(tmp_path / f"{number}_depth.npy", metres(number)[..., None])
        np.save(tmp_path / f"{number}_depth_mask.npy", (metres(number) > 0).astype(np.float32))
    guess, depth_m = read(tmp_path, ".", ".")
    assert (values(guess)["image_suffix"], values(guess)["depth_suffix"]) == (".png", "_depth.npy")
    assert np.array_equal(depth_m, metres(0))
