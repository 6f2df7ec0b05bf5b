"""Every option of every source is in what a set says of its source: one that is changed gives another set, or is named
here with the reason why it does not.

What a set says is the source's identity, and the content of the files of every record (`files_of`), which is recorded
and compared as well. Options that choose among files are changed to files of the same names and sizes.
"""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.building.taking_over import files_of
from pipeline.sources import __path__ as SOURCES
from tests.pipeline.sources import option_worlds as worlds
from tests.pipeline.sources.ade_miniature import write_tree

NOT_IN_A_SET = {
    "root": "a place: the same files elsewhere are the same data",
    "title": "for the README alone",
    "splits": "which there are; a set is of one of them",
    "storage": "how a place is reached",
    "indexes": "where it is kept what lies where",
}
World = Callable[[Path], Any]
# Source -> how its world is written, the options that are needed, and for every other option a change: the options that
# are changed together, or two of them, where it only means something beside others.
Change = Mapping[str, Any] | tuple[Mapping[str, Any], Mapping[str, Any]]
FOLDERS = {"splits": ["train"]}
CLASSES = {"classes": ["a", "b"]}
DEPTH = {"units_per_metre": 1000, "max_depth_m": 10.0}
DISPARITY = {"distance": "disparity", "focal_px": 100.0, "baseline_m": 0.5}


def divided(**whole: str) -> dict[str, Change]:
    """The changes of a source whose files lie in folders of one split, and are divided by a list or by shares."""
    by_list, by_shares = {"lists": {"train": "one.txt"}}, {"shares": {"train": 0.5, "val": 0.5}}
    undivided = {**whole, "splits": []}
    return {
        "lists": {**by_list, **undivided},
        "shares": {**by_shares, **undivided},
        "seed": ({**by_shares, **undivided, "seed": 0}, {**by_shares, **undivided, "seed": 3}),
    }


CASES: dict[str, tuple[World, dict[str, Any], dict[str, Change]]] = {
    "ade20k": (write_tree, {}, {}),
    "cityscapes": (
        worlds.cityscapes,
        {},
        {
            "labels": {"labels": "labelTrainIds"},
            "extra_labels": {"extra_labels": "auto", "extra_suffix": "_other.png"},
            "extra_suffix": (
                {"extra_labels": "auto", "extra_suffix": "_other.png"},
                {"extra_labels": "auto", "extra_suffix": "_auto_labelIds.png"},
            ),
        },
    ),
    "coco_keypoints": (
        worlds.coco_keypoints,
        {},
        {
            "detections": {"detections": "found.json"},
            "score_min": ({"detections": "found.json"}, {"detections": "found.json", "score_min": 0.5}),
        },
    ),
    "coco_segments": (
        worlds.coco_segments,
        {"unlabelled": "ignore", **FOLDERS},
        {
            "unlabelled": {"unlabelled": "background"},
            "annotations": {"annotations": "annotations/other.json"},
            "images": {"images": "other"},
            "panoptic": {"panoptic": "other"},
            "classes": {"classes": ["cat"]},
        },
    ),
    "depth_folders": (
        lambda root: worlds.pairs(root, "depths", "I;16"),
        {**DEPTH, **FOLDERS},
        {
            "units_per_metre": {"units_per_metre": 2000},
            "max_depth_m": {"max_depth_m": 9.0},
            "min_depth_m": {"min_depth_m": 1.0},
            "images": {"images": "other_images/{split}"},
            "depths": {"depths": "other_depths/{split}"},
            "image_suffix": {"image_suffix": "0.png", "depth_suffix": "0.png"},
            "depth_suffix": {"image_suffix": "0.png", "depth_suffix": "0.png"},
            "image_prefix": {"image_prefix": "p", "depth_prefix": "p"},
            "depth_prefix": {"image_prefix": "p", "depth_prefix": "p"},
            **divided(images="images/train", depths="depths/train"),
            "invalid": {"invalid": [7.0]},
            "bits": {"bits": "sun_rgbd"},
            "distance": DISPARITY,
            "focal_px": (DISPARITY, {**DISPARITY, "focal_px": 90.0}),
            "baseline_m": (DISPARITY, {**DISPARITY, "baseline_m": 0.4}),
            "doffs_px": (DISPARITY, {**DISPARITY, "doffs_px": 3.0}),
            "key": {"key": "depth"},
            "image_key": {"image_key": "rgb"},
            "resize": {"resize": "depth"},
            "classes": {"classes": ["den"]},
            "scenes": {"classes": ["den", "hall"], "scenes": "scenes.csv"},
            "orientation": {"orientation": "stored"},
        },
    ),
    "image_folders": (
        worlds.image_folders,
        {**CLASSES, **FOLDERS},
        {
            "classes": {"classes": ["a", "c"]},
            "images": {"images": "other_images/{split}"},
            "labels": {"labels": "other_labels/{split}"},
            "image_suffix": {"image_suffix": "0.png", "label_suffix": "0.png"},
            "label_suffix": {"image_suffix": "0.png", "label_suffix": "0.png"},
            "zero_is_ignored": {"zero_is_ignored": True},
            "image_prefix": {"image_prefix": "x", "label_prefix": "x"},
            "label_prefix": {"image_prefix": "x", "label_prefix": "x"},
            **divided(images="images/train", labels="labels/train"),
            "coding": {"coding": "red"},
            "values": {"values": {"0": "a", "1": "b"}},
            "ignore_values": {"ignore_values": [7]},
            "colours": {"coding": "colour", "colours": {"a": [0, 0, 0], "b": [1, 1, 1]}},
            "ignored_classes": {"ignored_classes": ["b"]},
            "orientation": {"orientation": "stored"},
        },
    ),
    "kitti": (
        worlds.kitti,
        {},
        {
            "train_list": {"train_list": "filenames/eigen_benchmark/other.txt"},
            "images": {"images": "other"},
            "depths": {"depths": "other"},
        },
    ),
    "nyuv2": (
        worlds.nyuv2,
        {},
        {
            "class_rule": {"class_rule": "exact"},
            "unknown": {"unknown": "mean"},
            "train_list": {"train_list": "filenames/nyudepthv2/train_other.txt"},
        },
    ),
    "pictures": (
        worlds.pictures,
        {**FOLDERS},
        {
            "images": {"images": "other"},
            "tars": {"tars": "*.tar"},
            "image_suffix": {"image_suffix": "0.png"},
            "captions": {"captions": "txt"},
            "missing_caption": {"missing_caption": "empty"},
            "lists": {"lists": {"train": "one.txt"}, "splits": []},
            "shares": {"shares": {"train": 0.5, "val": 0.5}, "images": "train", "splits": []},
            "seed": tuple(
                {"shares": {"train": 0.5, "val": 0.5}, "images": "train", "splits": [], "seed": seed} for seed in (0, 3)
            ),
        },
    ),
    "refcoco": (
        worlds.refcoco,
        {},
        {
            "dataset": {"dataset": "refcoco+"},
            "split_by": {"split_by": "google"},
            "mask_rule": {"mask_rule": "exactly_one"},
        },
    ),
    "refer_file": (
        worlds.refer_file,
        {**FOLDERS},
        {
            "refs": {"refs": "other.jsonl", "split_field": "split"},
            "split_field": {"refs": "train.jsonl", "split_field": "split"},
            "shares": {"refs": "train.jsonl", "splits": ["train", "val"], "shares": [0.5, 0.5]},
            "seed": tuple(
                {"refs": "train.jsonl", "splits": ["train", "val"], "shares": [0.5, 0.5], "seed": seed}
                for seed in (0, 3)
            ),
            "images": {"images": "other"},
            "masks": {"masks": "other_masks"},
            "box_form": {"box_form": "xywh"},
            "units": {"units": "fraction"},
            "fields": {"fields": {"mask": "mask"}},
        },
    ),
    "refer_folder": (
        worlds.refer_folder,
        {"refs": "refs.json"},
        {
            "refs": {"refs": "other_refs.json"},
            "instances": {"instances": "other.json"},
            "images": {"images": "other"},
            "mask_rule": {"mask_rule": "exactly_one"},
        },
    ),
}
# Options of a form that these worlds are not of, with the test that changes them.
ELSEWHERE = {
    "nyuv2": {"form", "depth", "border", "mat", "splits", "test_list"},  # test_nyuv2_mat; another split's list
    "kitti": {"test_list"},  # another split's list
}


def names_of(source: str) -> set[str]:
    module = importlib.import_module(f"pipeline.sources.{source}")
    return set(inspect.signature(module.build).parameters)


def said(source: str, root: Path, options: Mapping[str, Any]) -> str:
    """What a set would say of its source."""
    made: Any = importlib.import_module(f"pipeline.sources.{source}").build(root, **options)
    split = next(name for name in made.splits if name.startswith("train"))
    if "extra_labels" in options:
        split = "train_extra"
    if source == "coco_keypoints":  # detections are of its other split
        split = "val2017"
    files = {key: files_of(made, split, key, None) for key in made.keys(split)}
    told = {key: None if found is None else [(f.name, f.xxh3_128) for f in found] for key, found in files.items()}
    return json.dumps([made.identity(split), told], sort_keys=True)


@pytest.mark.parametrize("source", CASES)
def test_every_option_has_its_change(source: str) -> None:
    told = set(CASES[source][2]) | set(NOT_IN_A_SET) | ELSEWHERE.get(source, set())
    assert names_of(source) - told == set()
    assert set(CASES[source][2]) <= names_of(source)


def test_every_source_is_here() -> None:
    here = {path.stem for path in Path(next(iter(SOURCES))).iterdir() if (path / "source.py").exists()}
    here |= {path.stem for path in Path(next(iter(SOURCES))).glob("[a-z]*.py")}
    assert here - set(CASES) == {"hf_dataset"}, "whose rows have the library's own fingerprint: test_hf_dataset"


@pytest.mark.parametrize(("source", "option"), [(source, option) for source in CASES for option in CASES[source][2]])
def test_a_changed_option_is_another_set(source: str, option: str, tmp_path: Path) -> None:
    write, needed, changes = CASES[source]
    write(tmp_path)
    change = changes[option]
    before, after = change if isinstance(change, tuple) else ({}, change)
    assert said(source, tmp_path, {**needed, **before}) != said(source, tmp_path, {**needed, **after})


@pytest.mark.parametrize("source", CASES)
def test_the_same_files_elsewhere_are_the_same(source: str, tmp_path: Path) -> None:
    write, needed, _ = CASES[source]
    write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert said(source, tmp_path / "a", needed) == said(source, tmp_path / "b", needed)
