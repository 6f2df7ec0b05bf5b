"""Other people's layouts, read by a few declared lines to the values that were measured by hand; see the lines in
docs/own_data.md. The samples lie beside the checkout and are never part of it; without them these tests are skipped.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.files.depth_values import read_depth
from pipeline.sources import coco_segments, depth_folders, image_folders, pictures
from pipeline.sources.depth_folders.meaning import Meaning
from shards.contract.lengths import per_metre
from shards.errors import ConfigError, Reject, SourceError
from vpd.tasks.depth.labels import metres

Counts = dict[int, int]


@pytest.fixture(scope="module")
def own(realdata: Path) -> Path:
    folder = realdata / "own"
    if not folder.is_dir():
        pytest.skip(f"no sample of own layouts at {folder}: it is not distributed with the code")
    return folder


def counts(source: Any, split: str, key: str) -> Counts:
    label = np.array(Image.open(io.BytesIO(source.load(split, key).labels["label"])))
    values, pixels = np.unique(label, return_counts=True)
    return dict(zip(values.tolist(), pixels.tolist(), strict=True))


def test_mmsegmentation_s_custom_dataset(own: Path) -> None:
    source = image_folders.build(
        own / "seg_mmseg_custom", ["a", "b", "c", "d"], images="imgs", labels="gts", image_suffix="_img.jpg",
        label_suffix="_gt.png", lists={"train": "splits/train.txt", "val": "splits/val.txt"},
    )  # fmt: skip
    assert source.keys("train") == ["00000", "00001", "00002", "00003"]
    assert counts(source, "train", "00003") == {0: 23111, 3: 9657}
    assert counts(source, "val", "00004") == {0: 14528, 3: 18240}


def test_binary_masks_of_0_and_255(own: Path) -> None:
    places: Any = {"splits": ["train"], "images": "{split}/image", "labels": "{split}/label"}
    root, names = own / "seg_binary_255", ["cell", "membrane"]
    with pytest.raises(SourceError, match="255 is read as ignore"):
        image_folders.build(root, names, **places).notices("train")
    source = image_folders.build(root, names, values={"0": "cell", "255": "membrane"}, **places)
    found = [counts(source, "train", key) for key in source.keys("train")]
    assert found == [{0: 57492, 1: 204652}, {0: 59635, 1: 202509}, {0: 64566, 1: 197578}]


@pytest.mark.parametrize(
    "options",
    [
        {"root": "data_dataset_voc", "labels": "SegmentationClass", "images": "JPEGImages"},
        {"root": "data_dataset_voc", "labels": "SegmentationClassNpy", "images": "JPEGImages", "label_suffix": ".npy"},
        {"root": ".", "labels": "data_annotated", "images": "data_annotated", "coding": "labelme"},
    ],
)
def test_labelme_s_palettes_arrays_and_json_agree(options: dict[str, Any], own: Path) -> None:
    example = own / "seg_labelme/instance_segmentation"
    root = example / options.pop("root")
    source = image_folders.build(root, str(example / "labels.txt"), splits=["train"], **options)
    assert counts(source, "train", "2011_000025") == {0: 62013, 6: 118231, 7: 7256}
    assert source.class_names[6] == "bus"
    with pytest.raises(ConfigError, match="hold objects"):
        image_folders.build(root, str(example / "labels.txt"), splits=["train"], labels="SegmentationObject")


def test_labelme_draws_later_shapes_over_earlier_ones(own: Path) -> None:
    source = image_folders.build(
        own / "seg_labelme/tutorial", "apc2016_obj3/label_names.txt", splits=["train"], images=".", labels=".",
        image_suffix=".jpg", coding="labelme",
    )  # fmt: skip
    assert counts(source, "train", "apc2016_obj3") == {0: 476829, 1: 70983, 2: 23017, 3: 35925, 4: 490716}


def test_camvid_by_index_and_by_colour(own: Path) -> None:
    names = [*"abcdefghijk", "void"]
    index = image_folders.build(
        own / "seg_camvid_index", names, splits=["train", "test"], images="images_prepped_{split}",
        labels="annotations_prepped_{split}", ignored_classes=["void"],
    )  # fmt: skip
    assert counts(index, "train", "0001TP_006690") == {
        0: 23726, 1: 64726, 2: 1904, 3: 16139, 4: 11897, 5: 2303, 6: 2543, 8: 40851, 9: 731, 255: 7980,
    }  # fmt: skip
    colours = {"Bicyclist": [0, 128, 192], "Road": [128, 64, 128], "Animal": [64, 128, 64], "Child": [192, 128, 64]}
    coloured = image_folders.build(
        own / "seg_tool_exports_tiny/camvid_dataset", [*colours], coding="colour", colours=colours,
        lists={"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    )  # fmt: skip
    assert counts(coloured, "train", coloured.keys("train")[0]) == {0: 4, 1: 1}
    assert counts(coloured, "val", coloured.keys("val")[0]) == {2: 3, 3: 2}
    with pytest.raises(Reject, match=r"colour \(128, 128, 128\) in 2 pixels is not declared"):
        coloured.load("test", coloured.keys("test")[0])


@pytest.mark.parametrize(
    ("folder", "classes", "options", "expected"),
    [
        (
            "common_semantic_segmentation_dataset/dataset",
            "dataset_meta.json",
            {"labels": "masks", "coding": "colour"},
            {"0001": {3: 4, 5: 1}, "0002": {1: 3, 4: 2}},
        ),
        (
            "voc_dataset/voc_dataset1",
            "../voc_dataset2/labelmap.txt",
            {"images": "JPEGImages", "labels": "SegmentationClass", "coding": "colour", "ignored_classes": ["ignored"]},
            {"2007_000001": {2: 200}},
        ),
        (
            "kaggle_dataset/image_mask_with_labelmap",
            "labelmap.csv",
            {"labels": "masks"},
            {"001": {0: 1, 1: 2, 2: 2}},
        ),
        (
            "ade20k2020_dataset/dataset",
            ["car", "person"],
            {
                "images": "training", "labels": "training", "image_suffix": ".jpg", "label_suffix": "_seg.png",
                "coding": "ade20k_full", "values": {"401": "car", "1831": "person"}, "ignore_values": [0],
            },
            {"street%2F1": {0: 15, 1: 5, 255: 5}},
        ),
    ],
)  # fmt: skip
def test_exports_of_tools(folder: str, classes: Any, options: dict[str, Any], expected: dict, own: Path) -> None:
    options = {"images": "images", "splits": ["train"]} | options
    source = image_folders.build(own / "seg_tool_exports_tiny" / folder, classes, **options)
    assert {key: counts(source, "train", key) for key in expected} == expected


def test_coco_panoptic_by_its_json_and_by_two_channels(own: Path) -> None:
    root = own / "seg_coco_panoptic"
    source = coco_segments.build(
        root, "ignore", splits=["examples"], annotations="panoptic_{split}.json", images="input_images",
        panoptic="panoptic_{split}",
    )  # fmt: skip
    first = {
        "person": 56327,
        "sports ball": 175,
        "tree-merged": 130762,
        "sky-other-merged": 8204,
        "grass-merged": 75100,
    }
    expected = {source.class_names.index(name): pixels for name, pixels in first.items()} | {255: 2712}
    assert counts(source, "examples", "000000142238") == expected
    categories = json.loads((root / "panoptic_coco_categories.json").read_text())
    two = image_folders.build(
        root, [category["name"] for category in categories], splits=["val"], images="input_images",
        labels="panoptic_examples_2ch_format", coding="red", ignore_values=[0],
        values={str(category["id"]): category["name"] for category in categories},
    )  # fmt: skip
    for key in source.keys("examples"):
        assert counts(two, "val", key) == counts(source, "examples", key)


def test_coco_files_of_tools(own: Path) -> None:
    root = own / "seg_tool_exports_tiny/coco_dataset"
    stuff = coco_segments.build(
        root / "coco_stuff", "ignore", annotations="annotations/stuff_{split}.json", images="images/{split}"
    )
    assert counts(stuff, "train", "000000000005") == {0: 20, 255: 30}
    roboflow = coco_segments.build(root / "coco_roboflow", "rest", annotations="{split}/_annotations.coco.json")
    assert roboflow.counts("train") == {"images": 1, "segments": 0, "without_area": 1}
    with pytest.raises(SourceError, match="none of 0 segments is of the classes"):
        roboflow.notices("train")


@pytest.mark.parametrize(
    ("folder", "options", "expected"),
    [
        (
            "depth_tum",
            {
                "units_per_metre": 5000, "images": ".", "depths": ".", "image_suffix": "_color.png",
                "depth_suffix": "_depth.png",
            },
            (0.80811, 1.464, 2.415, 9.331),
        ),
        (
            "depth_sunrgbd",
            {
                "units_per_metre": 1000, "bits": "sun_rgbd", "images": ".", "depths": ".", "image_suffix": "_color.jpg",
                "depth_suffix": "_depth.png",
            },
            (0.81767, 1.057, 2.723, 9.870),
        ),
        (
            "depth_mm_redwood",
            {"units_per_metre": 1000, "images": "color", "depths": "depth"},
            (0.86956, 0.955, 1.861, 2.702),
        ),
    ],
)  # fmt: skip
def test_depth_of_cameras(folder: str, options: dict[str, Any], expected: tuple[float, ...], own: Path) -> None:
    source = depth_folders.build(own / folder, max_depth_m=10, splits=["train"], **options)
    payload = source.load("train", source.keys("train")[0]).labels["depth"]
    depth_m = metres(np.asarray(Image.open(io.BytesIO(payload))), per_metre(source.label_fields[0]))
    valid = depth_m[depth_m > 0]
    found = (valid.size / depth_m.size, valid.min(), np.median(valid), valid.max())
    assert found == pytest.approx(expected, abs=1e-3)
    assert any(f"median {expected[2]:.3f}" in line for line in source.notices("train"))


def test_a_wrong_unit_is_refused_with_the_right_one_in_the_message(own: Path) -> None:
    places: Any = {"splits": ["train"], "images": ".", "depths": ".", "image_suffix": "_color.png"}
    source = depth_folders.build(own / "depth_tum", 1000, 10, depth_suffix="_depth.png", **places)
    with pytest.raises(SourceError, match=r"is 12\.07 m, outside the declared 0 to 10 m.*1/5000 m 2\.415 \(inside\)"):
        source.notices("train")


def test_disparity_with_its_calibration(own: Path, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("im0.png disp0GT.pfm\n")
    root, lists = own / "depth_middlebury_pfm/Motorcycle", {"train": str(tmp_path / "train.txt")}
    source = depth_folders.build(
        root, 1, 10, lists=lists, depth_suffix=".pfm", distance="disparity", focal_px=999.421, baseline_m=0.193001,
        doffs_px=32.778,
    )  # fmt: skip
    depth_m: Any = source.load("train", "im0").labels["depth"]
    valid = depth_m[depth_m > 0]
    found = (valid.size / depth_m.size, valid.min(), np.median(valid), valid.max())
    assert found == pytest.approx((0.97914, 2.0165, 2.6434, 4.5975), abs=1e-3)
    with pytest.raises(SourceError, match="outside the declared 0 to 10 m"):
        depth_folders.build(root, 1, 10, lists=lists, depth_suffix=".pfm").notices("train")


def test_hypersim_s_distance_along_the_ray(own: Path) -> None:
    (path,) = (own / "depth_hypersim_h5").rglob("*.hdf5")
    depth_m = Meaning(1, 50, distance="ray", focal_px=886.81).metres(read_depth(path, "dataset"), str(path))
    assert (depth_m.min(), np.median(depth_m), depth_m.max()) == pytest.approx((2.6629, 5.1925, 12.965), abs=1e-3)


def test_pictures_of_a_gzipped_tar(own: Path) -> None:
    source = pictures.build(own / "wds_tar", splits=["train"], tars="*.tgz")
    assert source.counts("train") == {"images": 90}
    assert source.load("train", source.keys("train")[0]).image.shape == (28, 28, 3)
