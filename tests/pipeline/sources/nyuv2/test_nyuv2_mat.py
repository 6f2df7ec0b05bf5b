"""The labelled .mat: the real sample compared exactly, what is rejected, what stops the build."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from demo.nyuv2_world import write_nyuv2_world
from pipeline.sources.nyuv2 import mat as nyuv2_mat
from pipeline.sources.nyuv2.source import CLASS_NAMES, Nyuv2Source, build
from pipeline.views import exact
from shards.errors import ConfigError, Reject, SourceError
from tests.pipeline.toys import SETTINGS, Build, ToyVae, digests


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nyuv2_world(tmp_path_factory.mktemp("world"), {"train": 3, "test": 2})


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "nyuv2")


def mat(root: Path) -> Path:
    return root / "nyu_depth_v2_labeled.mat"


def first(source: Nyuv2Source, split: str = "train") -> Any:
    return source.load(split, source.keys(split)[0])


def replace_dataset(root: Path, name: str, value: np.ndarray) -> None:
    with h5py.File(mat(root), "r+") as file:
        del file[name]
        file[name] = value


def write_splits(root: Path, train: list[int], test: list[int]) -> None:
    scipy.io.savemat(root / "splits.mat", {"trainNdxs": np.c_[train], "testNdxs": np.c_[test]})


@pytest.mark.parametrize(("depth", "name"), [("raw", "rawDepths"), ("filled", "depths")])
def test_every_real_frame_is_the_files_own_numbers(realdata: Path, depth: str, name: str) -> None:
    source = build(realdata / "nyuv2", form="mat", splits="splits_sample.mat", depth=depth)
    assert source.keys("train") == ["00002", "00003", "00004"]
    assert source.keys("test") == ["00000", "00001", "00005"]
    with h5py.File(mat(realdata / "nyuv2")) as file:
        for split in source.splits:
            for key in source.keys(split):
                example = source.load(split, key)
                stored: Any = file[name]
                depth_m = example.labels["depth"]
                assert isinstance(depth_m, np.ndarray)
                assert depth_m.dtype == np.float32
                np.testing.assert_array_equal(depth_m, stored[int(key)].T)
                assert (depth_m == 0).any() == (depth == "raw"), "unmeasured pixels stay 0, in-painted ones are none"
                assert example.image.shape == (480, 640, 3)


def test_axes_are_those_of_the_frames_own_pngs(realdata: Path) -> None:
    source = build(realdata / "nyuv2", form="mat", splits="splits_sample.mat")
    for key, number in (("00000", "0433"), ("00001", "0464")):
        example = source.load("test", key)
        extra = realdata / "nyuv2" / "extra"
        np.testing.assert_array_equal(example.image, np.asarray(Image.open(extra / f"rgb_{number}.png")))
        png = np.asarray(Image.open(extra / f"depth_x5000_{number}.png"))
        depth_m = example.labels["depth"]
        assert isinstance(depth_m, np.ndarray)
        np.testing.assert_array_equal(depth_m, png.astype(np.float32) / np.float32(5000))


def test_real_frames_have_their_rooms_classes(realdata: Path) -> None:
    source = build(realdata / "nyuv2", form="mat", splits="splits_sample.mat")
    metas = [source.load(split, key).meta for split in source.splits for key in source.keys(split)]
    assert [CLASS_NAMES[meta["class_id"]] for meta in metas] == [
        *["basement"] * 3,
        "playroom",
        "reception_room",
        "dining_room",
    ]
    assert metas[0]["scene"] == "basement_0001a"
    assert metas[0]["file_name"] == "basement/rgb_00002.jpg"
    assert metas[0]["raw_rgb"] == "basement_0001a/r-1316653580.484909-1316500621.ppm"


def test_the_official_splits_do_not_fit_the_small_sample(realdata: Path) -> None:
    with pytest.raises(SourceError, match=r"outside 1\.\.6 \(they count from 1\).*holds 6 frames"):
        build(realdata / "nyuv2", form="mat").keys("train")


def test_the_published_border_is_black_and_the_rest_untouched(realdata: Path) -> None:
    folder = realdata / "nyuv2"
    plain, framed = (
        build(folder, form="mat", splits="splits_sample.mat", border=border).load("test", "00000").image
        for border in ("keep", "black")
    )
    np.testing.assert_array_equal(framed[7:474, 7:632], plain[7:474, 7:632])
    assert framed.sum() == framed[7:474, 7:632].sum()
    assert plain[:7].any()


def test_a_source_pickles_and_is_read_by_threads(root: Path) -> None:
    source = build(root, form="mat")
    np.testing.assert_array_equal(first(pickle.loads(pickle.dumps(source))).image, first(source).image)
    keys = source.keys("train")
    alone = {key: source.load("train", key).image for key in keys}
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda key: source.load("train", key).image, keys * 8))
    for key, image in zip(keys * 8, images, strict=True):
        np.testing.assert_array_equal(image, alone[key])


def test_a_forked_process_opens_the_file_for_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    open_file = nyuv2_mat._open

    def note(path: Path) -> h5py.File:
        opened.append(os.getpid())
        return open_file(path)

    monkeypatch.setattr(nyuv2_mat, "_open", note)
    source = build(root, form="mat")
    image = first(source).image

    def child() -> None:
        same = np.array_equal(first(source).image, image)
        os._exit(0 if same and opened == [os.getppid(), os.getpid()] else 1)

    process = get_context("fork").Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 0
    first(source)
    assert opened == [os.getpid()], "the parent's file stays open"


def test_identity_changes_with_the_depth_and_with_a_byte_of_the_file(root: Path) -> None:
    plain = build(root, form="mat").identity("train")
    assert str(root) not in str(plain)
    assert build(root, form="mat", depth="filled").identity("train") != plain
    with h5py.File(mat(root), "r+") as file:
        depths: Any = file["rawDepths"]
        depths[0, 60, 60] = 1.25
    assert build(root, form="mat").identity("train")["sha256"] != plain["sha256"]


def test_a_matlab_v5_file_is_named_as_such(root: Path) -> None:
    scipy.io.savemat(mat(root), {"images": np.zeros((4, 4, 3, 2), np.uint8)})
    with pytest.raises(SourceError, match=r"is a MATLAB v5 file, expected MATLAB v7\.3"):
        build(root, form="mat").keys("train")


def test_a_web_page_and_half_a_file_are_refused(root: Path) -> None:
    whole = mat(root).read_bytes()
    mat(root).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read as HDF5"):
        build(root, form="mat").keys("train")
    mat(root).write_bytes(b"<!DOCTYPE html>" * 100)
    with pytest.raises(SourceError, match="is no HDF5"):
        build(root, form="mat").keys("train")


def test_a_file_without_raw_depth_is_refused(root: Path) -> None:
    with h5py.File(mat(root), "r+") as file:
        del file["rawDepths"]
    with pytest.raises(SourceError, match=r"lacks rawDepths; found #refs#, accelData"):
        build(root, form="mat").keys("train")
    assert build(root, form="mat", depth="filled").keys("train")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rawDepths", np.ones((5, 160, 119), np.float32), "rawDepths is .5, 160, 119., images are"),
        ("images", np.zeros((5, 160, 120, 3), np.uint8), r"expected uint8 \[N, 3, W, H\]"),
        ("images", np.zeros((5, 3, 160, 120), np.float32), r"expected uint8 \[N, 3, W, H\]"),
        ("scenes", np.zeros((1, 4), np.uint8), r"scenes is \[1, 4\]; expected \[1, 5\]"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(root: Path, name: str, value: np.ndarray, message: str) -> None:
    replace_dataset(root, name, value)
    with pytest.raises(SourceError, match=message):
        build(root, form="mat").keys("train")


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([1, 2, 6], [4], r"1 numbers of trainNdxs are outside 1\.\.5.*such as 6"),
        ([1, 2], [0, 3], r"1 numbers of testNdxs are outside 1\.\.5 \(they count from 1\), such as 0"),
        ([1, 2], [2, 3], "1 frames are named twice"),
    ],
)
def test_splits_that_cannot_be_are_refused(root: Path, train: list[int], test: list[int], message: str) -> None:
    write_splits(root, train, test)
    with pytest.raises(SourceError, match=message):
        build(root, form="mat").keys("test")


def test_splits_of_another_kind_are_refused(root: Path) -> None:
    scipy.io.savemat(root / "splits.mat", {"train": np.c_[[1]]})
    with pytest.raises(SourceError, match="holds no trainNdxs"):
        build(root, form="mat").keys("train")
    shutil.copy(mat(root), root / "splits.mat")
    with pytest.raises(SourceError, match="cannot be read as a MATLAB v5 file"):
        build(root, form="mat").keys("train")


def test_a_room_without_a_class_is_a_reject_or_the_mean(root: Path) -> None:
    with h5py.File(mat(root), "r+") as file:
        cell: Any = file["sceneTypes"]
        file["#refs#/other"] = np.frombuffer("spaceship".encode("utf-16-le"), np.uint16)[:, None]
        for position in range(cell.shape[1]):
            cell[0, position] = file["#refs#/other"].ref
    for rule in ("substring", "exact"):
        with pytest.raises(Reject, match=r"'spaceship' is none of the 27 room classes .*Option unknown=mean"):
            first(build(root, form="mat", class_rule=rule))
        assert first(build(root, form="mat", class_rule=rule, unknown="mean")).meta["class_id"] == -1


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "no measurement, all are 0"), (np.nan, "NaN"), (-1.0, "negative")]
)
def test_impossible_depth_is_a_reject(root: Path, value: float, message: str) -> None:
    replace_dataset(root, "rawDepths", np.full((5, 160, 120), value, np.float32))
    with pytest.raises(Reject, match=message):
        first(build(root, form="mat"))


def test_a_damaged_chunk_is_a_reject_of_its_frame(root: Path) -> None:
    source = build(root, form="mat")
    with h5py.File(mat(root)) as file:
        images: Any = file["images"]
        chunk = images.id.get_chunk_info_by_coord((int(source.keys("train")[0]), 0, 0, 0))
    with mat(root).open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    with pytest.raises(Reject, match="cannot be read"):
        first(source)
    assert source.load("train", source.keys("train")[1]).image.any()


def test_missing_files_and_the_wrong_form_are_explained(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="set form=mat, or extract the test split"):
        build(root).keys("train")
    with pytest.raises(SourceError, match=r"missing nyu_depth_v2_labeled\.mat, splits\.mat\. Found: nothing"):
        build(tmp_path / "nowhere", form="mat").keys("train")
    with pytest.raises(SourceError, match="no split 'val'; expected one of train, test"):
        build(root, form="mat").keys("val")
    with pytest.raises(SourceError, match="has no image '99999'"):
        build(root, form="mat").load("train", "99999")


@pytest.mark.parametrize(
    "options",
    [{"form": "zip"}, {"form": "mat", "depth": "dense"}, {"class_rule": "near"}, {"depth": "filled"}, {"unknown": ""}],
)
def test_options_that_do_not_exist_or_do_not_fit_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="nyuv2: "):
        build(tmp_path, **options)


def test_a_set_follows_the_frames_of_the_file(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(place: str) -> Build:
        source: Any = build(root, form="mat", unknown="mean")
        return Build(
            tmp_path / place / "toys", source, ToyVae(), None, exact.build(8), replace(SETTINGS, records_per_shard=1)
        )

    of("set").run()
    key = build(root, form="mat").keys("train")[1]
    with h5py.File(mat(root), "r+") as file:
        images: Any = file["images"]
        images[int(key)] = 255 - images[int(key)]
    followed = of("set")
    assert [one.why for one in followed.begin().situation.stale] == [(f"{key}: frame changed",)]
    followed.run()
    assert isinstance(followed.vae, ToyVae)
    assert len(followed.vae.shapes) == 1
    of("fresh").run()
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")
    monkeypatch.setattr(nyuv2_mat.LabeledMat, "content", lambda self, index: pytest.fail("the file is what it was"))
    assert of("set").begin().is_done
