"""COCO 2017: keypoints, as `pipeline.sources.coco_keypoints` reads them, and segments, as `coco_segments` does."""

from __future__ import annotations

from pipeline.sources.coco_keypoints.source import SPLITS, CocoKeypointsSource
from pipeline.stocktaking.facts import Archive, Dataset, Part

HOST = "http://images.cocodataset.org"
ANNOTATIONS, PANOPTIC = "annotations_trainval2017.zip", "panoptic_annotations_trainval2017.zip"
PICTURES = {"train2017": 118_287, "val2017": 5_000}  # of the archives; a form may need fewer
RECORDED = "as TensorFlow Datasets records it"


def describe() -> Dataset:
    card = CocoKeypointsSource.card()
    return Dataset(
        title="COCO 2017, keypoints and segments",
        page="https://cocodataset.org/#download",
        terms=f"{card['licence']} {card['terms']}",
        folder="coco",
        builds=("coco_pose",),
        forms={
            "keypoints": _form("person_keypoints", "persons and their keypoints", ANNOTATIONS),
            "instances": _form("instances", "objects of 80 categories", ANNOTATIONS),
            "panoptic": (
                *_form("panoptic", "segments of things and stuff", PANOPTIC),
                *(
                    Part(f"annotations/panoptic_{split}/*.png", f"{split} segments", PICTURES[split], archive=PANOPTIC)
                    for split in SPLITS
                ),
            ),
        },
        archives=(
            _archive(
                "zips/train2017.zip", 19_336_861_798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"
            ),
            _archive(
                "zips/val2017.zip", 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
            ),
            _archive(
                f"annotations/{ANNOTATIONS}",
                252_907_541,
                "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ),
            _archive(
                f"annotations/{PANOPTIC}",
                860_725_834,
                "c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
            ),
        ),
        notes=("the panoptic archive holds its PNGs in two more archives: unpack them beside the JSON files",),
    )


def _form(kind: str, what: str, archive: str) -> tuple[Part, ...]:
    files = [Part(f"annotations/{kind}_{split}.json", f"{split} {what}", archive=archive) for split in SPLITS]
    pictures = [
        Part(f"{split}/*.jpg", f"{split} pictures", PICTURES[split], archive=f"{split}.zip") for split in SPLITS
    ]
    return (*files, *pictures)


def _archive(path: str, size_bytes: int, sha256: str) -> Archive:
    name = path.rpartition("/")[2]
    return Archive(name, f"{HOST}/{path}", f"{size_bytes:,} bytes", f"sha256 {sha256}, {RECORDED}")
