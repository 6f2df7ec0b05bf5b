"""The written world is the official layout: the real source reads it, and finds what was drawn."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from demo.phrases import referents
from demo.refcoco_world import run_lengths, scene_of, write_refcoco_world
from demo.world import render
from pipeline.sources.refcoco.source import build

IMAGES = {"train": 20, "val": 4, "testA": 2, "testB": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_refcoco_world(tmp_path_factory.mktemp("world"), IMAGES, seed=3)


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_writes_the_same_bytes(root: Path, tmp_path: Path) -> None:
    assert hashes(write_refcoco_world(tmp_path, IMAGES, seed=3)) == hashes(root)


def test_another_seed_writes_other_pictures_beside_them(root: Path, tmp_path: Path) -> None:
    first = hashes(write_refcoco_world(tmp_path, {"train": 2}, seed=1))
    both = hashes(write_refcoco_world(tmp_path, {"train": 2}, seed=2))
    kept = [name for name in first if name.endswith(".jpg")]
    assert all(both[name] == first[name] for name in kept)
    assert len(both) == len(first) + 2


def test_two_datasets_of_one_seed_share_their_pictures(root: Path, tmp_path: Path) -> None:
    write_refcoco_world(tmp_path, {"train": 2}, seed=3)
    before = hashes(tmp_path)
    write_refcoco_world(tmp_path, {"train": 2}, seed=3, dataset="refcocog", split_by="umd")
    after = hashes(tmp_path)
    assert set(after) - set(before) == {"refcocog/instances.json", "refcocog/refs(umd).p"}
    assert build(tmp_path, "refcocog", "umd").counts("train")["images"] == 2


def test_the_source_finds_every_object_where_it_was_drawn(root: Path) -> None:
    source = build(root)
    for split, count in IMAGES.items():
        assert source.counts(split)["images"] == count
        for key in source.keys(split):
            example = source.load(split, key)
            scene = scene_of(3, int(key))
            masks = render(scene).masks
            for ref, (first, length) in zip(example.meta["refs"], example.items, strict=True):
                index = ref["ann_id"] % 10
                found = coco.decode(ref["rle"]).astype(bool)
                assert (found & masks[index]).sum() / (found | masks[index]).sum() > 0.85
                for phrase in example.sentences[first : first + length]:
                    assert referents(phrase, scene) == [index]


def test_the_odd_sides_of_the_real_files_are_there(root: Path) -> None:
    instances = json.loads((root / "refcoco" / "instances.json").read_text())
    crowds = [entry for entry in instances["annotations"] if entry["iscrowd"]]
    assert any(len(entry["segmentation"]) == 2 for entry in instances["annotations"] if not entry["iscrowd"])
    assert crowds
    assert all(sum(entry["segmentation"]["counts"]) == np.prod(entry["segmentation"]["size"]) for entry in crowds)
    payload = (root / "refcoco" / "refs(unc).p").read_bytes()
    refs = pickle.loads(payload)
    assert payload[:2] == b"\x80\x02"
    assert len(refs) < len(instances["annotations"]) - len(crowds)  # some objects are never named
    assert len({ref["ref_id"] for ref in refs}) == len(refs)
    sent_ids = [sentence["sent_id"] for ref in refs for sentence in ref["sentences"]]
    assert len(set(sent_ids)) == len(sent_ids)
    assert not any((root / "images/mscoco/images/train2014" / ref["file_name"]).exists() for ref in refs)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_run_lengths_are_cocos(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < density
    rle = coco.frPyObjects({"size": [7, 9], "counts": run_lengths(mask)}, 7, 9)  # type: ignore
    assert np.array_equal(coco.decode(rle), mask)


@pytest.mark.parametrize("images", [{"holdout": 1}, {"val": 10_001}])
def test_splits_without_a_range_of_ids_are_refused(tmp_path: Path, images: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at most"):
        write_refcoco_world(tmp_path, images)
