"""Small worlds of every source whose options can be changed: files to choose among have the same names and sizes."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.pipeline.sources.coco_miniature import write_coco
from tests.pipeline.sources.refer_miniature import annotation, ref, write_folder

TRIANGLE = [[1, 1, 9, 1, 9, 9]]


def picture(path: Path, seed: int = 0, mode: str = "RGB") -> None:
    """Of one size in bytes, whatever is in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape, rng = (12, 40), np.random.default_rng(seed)
    pixels = {
        "RGB": rng.integers(0, 256, (*shape, 3), np.uint8),
        "L": rng.integers(0, 2, shape, np.uint8),
        "I;16": rng.integers(900, 5000, shape, np.uint16),
    }[mode]
    Image.fromarray(pixels).save(path, compress_level=0)


def pairs(root: Path, side: str, mode: str) -> None:
    """Two folders of two pictures and their partners, of the same names and sizes."""
    for number in range(2):
        for place, seed in (("", 0), ("other_", 5)):
            picture(root / f"{place}images/train/p{number}.png", number + seed)
            picture(root / f"{place}{side}/train/p{number}.png", number + seed, mode)
    (root / "one.txt").write_text("p0\n")
    (root / "scenes.csv").write_text("file,scene\np0,den\n")


def image_folders(root: Path) -> None:
    pairs(root, "labels", "L")
    for side in ("images", "labels"):
        for place in sorted((root / side / "train").glob("p*.png")):
            shutil.copy(place, place.with_name(f"x{place.name}"))
        shutil.copy(root / side / "train/p0.png", root / side / "train/q.tif.png")


def kitti(root: Path) -> None:
    line = "raw/%s_sync/image_02/data/%s.png depth/%s.png\n"
    for place, seed in (("", 0), ("other/", 5)):
        for number in range(2):
            picture(root / f"{place}raw/d_sync/image_02/data/{number}.png", number + seed)
            picture(root / f"{place}depth/{number}.png", number + seed, "I;16")
    for name, numbers in (("train_list", (0, 1)), ("test_list", (0,)), ("other", (1,))):
        path = root / f"filenames/eigen_benchmark/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line % ("d", number, number) for number in numbers))


def nyuv2(root: Path) -> None:
    for split, folder in (("train", "sync"), ("test", "official_splits/test")):
        names = []
        for number in range(2):
            names.append(f"/den_0001/rgb_{number}.png /den_0001/sync_depth_{number}.png\n")
            picture(root / f"nyu_depth_v2/{folder}/den_0001/rgb_{number}.png", number)
            picture(root / f"nyu_depth_v2/{folder}/den_0001/sync_depth_{number}.png", number, "I;16")
        lists = root / "filenames/nyudepthv2"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}_list.txt").write_text("".join(names))
        (lists / f"{split}_other.txt").write_text(names[1])


def cityscapes(root: Path) -> None:
    for split, labels in (("train", "gtFine/train"), ("train_extra", "gtCoarse/train_extra"), ("train_extra", "auto")):
        for kind in ("labelIds", "labelTrainIds", "other"):
            stem = "ulm/ulm_000001_000019"
            picture(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png")
            name = {"other": "_other.png"}.get(kind, f"_{labels.split('/')[0]}_{kind}.png")
            picture(root / f"{labels}/{stem}{name}", 1, "L")


def coco_segments(root: Path) -> None:
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    for place, seed in (("train", 0), ("other", 5)):
        picture(root / place / "a.png", seed)
    for name, category in (("instances_train", 1), ("other", 2)):
        entry = {"id": 1, "image_id": 1, "category_id": category, "segmentation": TRIANGLE}
        images = [{"id": 1, "file_name": "a.png", "height": 12, "width": 40}]
        path = root / f"annotations/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": [entry], "categories": categories}))


def coco_keypoints(root: Path) -> None:
    write_coco(root)
    found = [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 4, 4], "score": score} for score in (0.2, 0.9)]
    (root / "found.json").write_text(json.dumps(found))


def pictures(root: Path) -> None:
    for place, seed in (("train", 0), ("other", 5)):
        for name in ("a0.png", "b.png", "sub/c0.png"):
            picture(root / place / name, seed)
            (root / place / name).with_suffix(".txt").write_text("a picture")
    (root / "one.txt").write_text("a0\n")
    with tarfile.open(root / "all.tar", "w") as tar:
        tar.add(root / "train/a0.png", "a.png")


def refcoco(root: Path) -> None:
    write_folder(root, [ref(1, 7, 1, "it")], [annotation(1, 7, TRIANGLE)])
    shutil.copy(root / "refcoco/refs(unc).p", root / "refcoco/refs(google).p")
    shutil.copytree(root / "refcoco", root / "refcoco+")


def refer_file(root: Path) -> None:
    for place, seed in (("images", 0), ("other", 5)):
        for name in "abcdef":
            picture(root / place / f"{name}.png", seed)
    for place, seed in (("", 1), ("other_masks", 3)):
        picture(root / place / "m.png", seed, "L")
    lines = [{"image": f"{name}.png", "sentences": ["it"], "mask": "m.png", "split": "train"} for name in "abcdef"]
    (root / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (root / "other.jsonl").write_text("\n".join(map(json.dumps, lines[:1])))


def refer_folder(root: Path) -> None:
    images = []
    for place, seed in (("images/train2014", 0), ("other", 5)):
        picture(root / place / "7.png", seed)
        images = [{"id": 7, "file_name": "7.png", "height": 12, "width": 40}]
    for name, text in (("refs", "it"), ("other_refs", "that")):
        entry = {"ref_id": 1, "image_id": 7, "split": "train", "ann_id": [1]}
        (root / f"{name}.json").write_text(json.dumps([{**entry, "sentences": [{"sent": text}]}]))
    for name, category in (("instances", 1), ("other", 2)):
        entry = {"id": 1, "image_id": 7, "category_id": category, "iscrowd": 0, "segmentation": TRIANGLE}
        (root / f"{name}.json").write_text(json.dumps({"images": images, "annotations": [entry], "categories": []}))
