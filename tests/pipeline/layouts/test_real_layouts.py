"""Other people's folders: each is recognised, or refused by name, by what `init` looks at.

They lie beside the checkout and are never part of it; without them these tests are skipped. That the sources read them
to the right values, test_real_own says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.layouts import depth, refer, seg
from shards.errors import SourceError

TOOLS, LABELME = "seg_tool_exports_tiny", "seg_labelme/instance_segmentation"
PHOTOS = "../refcoco/images/mscoco/images/train2014"
RECOGNISED: list[tuple[str, str, str, int]] = [  # pictures, labels, source, classes
    ("seg_mmseg_custom/imgs", "seg_mmseg_custom/gts", "image_folders", 4),
    ("seg_binary_255/train/image", "seg_binary_255/train/label", "image_folders", 2),
    ("seg_labelme/tutorial", "seg_labelme/tutorial", "image_folders", 5),
    (f"{LABELME}/data_annotated", f"{LABELME}/data_annotated", "image_folders", 21),
    ("seg_coco_panoptic/input_images", "seg_coco_panoptic/panoptic_examples", "coco_segments", 133),
    ("seg_camvid_index/images_prepped_train", "seg_camvid_index/annotations_prepped_train", "image_folders", 12),
    (f"{TOOLS}/camvid_dataset/train", f"{TOOLS}/camvid_dataset/trainannot", "image_folders", 8),
    (f"{TOOLS}/ade20k2020_dataset/dataset", f"{TOOLS}/ade20k2020_dataset/dataset", "image_folders", 2),
    (f"{TOOLS}/coco_dataset/coco_stuff/images", f"{TOOLS}/coco_dataset/coco_stuff", "coco_segments", 3),
]
REFUSED = [
    (
        "seg_mask_per_object/train/shapes_train2018",
        "seg_mask_per_object/train/annotations",
        "mask a file for every obj",
    ),
    (f"{TOOLS}/cvat_dataset/for_images/export_task/images", f"{TOOLS}/cvat_dataset", "CVAT's XML"),
    (f"{TOOLS}/brats_dataset/imagesTr", f"{TOOLS}/brats_dataset/labelsTr", "NIfTI"),
    (f"{TOOLS}/segment_anything_dataset", f"{TOOLS}/segment_anything_dataset", "Segment Anything's JSON"),
]


@pytest.fixture(scope="module")
def own(realdata: Path) -> Path:
    folder = realdata / "own"
    if not folder.is_dir():
        pytest.skip(f"no sample of own layouts at {folder}: it is not distributed with the code")
    return folder


@pytest.mark.parametrize(("images", "labels", "source", "classes"), RECOGNISED)
def test_labels_are_recognised(images: str, labels: str, source: str, classes: int, own: Path) -> None:
    guess = seg.look(str(own / images), str(own / labels))
    assert (guess.source, guess.classes) == (source, classes)


@pytest.mark.parametrize(("images", "labels", "name"), REFUSED)
def test_layouts_that_are_not_read_are_refused_by_name(images: str, labels: str, name: str, own: Path) -> None:
    with pytest.raises(SourceError, match=name):
        seg.look(str(own / images), str(own / labels))


@pytest.mark.parametrize(
    ("folder", "given", "median_m"),
    [
        ("depth_tum", {"units_per_metre": 5000}, 2.415),
        ("depth_sunrgbd", {"units_per_metre": 1000, "bits": "sun_rgbd"}, 2.723),
        ("depth_middlebury_pfm/Motorcycle", {}, 2.643),
    ],
)
def test_depth_is_recognised_to_its_median(folder: str, given: dict[str, Any], median_m: float, own: Path) -> None:
    guess = depth.look(str(own / folder), str(own / folder), given)
    assert f"the median is {median_m:.3f} m" in guess.options["max_depth_m"].why


@pytest.mark.parametrize(("folder", "right"), [("depth_tum", "1/5000 m 2.415 m"), ("depth_sunrgbd", "bits 2.723 m")])
def test_the_right_unit_is_in_the_message(folder: str, right: str, own: Path) -> None:
    with pytest.raises(SourceError, match=right):
        depth.look(str(own / folder), str(own / folder), {})


@pytest.mark.parametrize("file", ["polygon", "rle", "box"])
def test_files_of_sentences_are_recognised(file: str, own: Path) -> None:
    guess = refer.look(str((own / PHOTOS).resolve()), str(own / f"refer_jsonl_composed/{file}.jsonl"), {})
    assert guess.notes[0].startswith("12 sentences")
    if file == "box":
        assert guess.options["box_form"].value == "xywh"


def test_refs_of_several_and_no_targets_are_recognised(own: Path) -> None:
    guess = refer.look(str((own / PHOTOS).resolve()), str(own / "refer_grefcoco_composed"), {})
    assert (guess.source, guess.notes) == ("refer_folder", ("12 sentences, 3 refs without a target",))
