"""Refs with several targets or none: what a record holds, what costs a ref, and what costs more than a ref."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.refer_folder import ReferFolderSource, build
from pipeline.sources.refs.masks import area_px, decode_mask
from shards.errors import ConfigError, Reject, SourceError

HEIGHT, WIDTH = 16, 20
LEFT = [[1, 1, 9, 1, 9, 9, 1, 9]]  # 8 x 8
RIGHT = [[5, 1, 15, 1, 15, 9, 5, 9]]  # 8 rows, columns 5 to 14: half of LEFT and 6 more columns
CROWD = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT, HEIGHT * (WIDTH - 1)]}
ANNOTATIONS = [
    {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": LEFT},
    {"id": 2, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": RIGHT},
    {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": CROWD},
    {"id": 4, "image_id": 9, "category_id": 1, "iscrowd": 0, "segmentation": [CROWD, CROWD]},  # ReferIt's form
]
SEVEN, NINE = "000000000007", "000000000009"


def ref(ref_id: int, ann_id: Any, *sentences: str, image_id: Any = 7, split: str = "val", **more: Any) -> dict:
    texts = [{"sent": text, "raw": text, "sent_id": 10 * ref_id + n} for n, text in enumerate(sentences)]
    return {"ref_id": ref_id, "image_id": image_id, "split": split, "ann_id": ann_id, "sentences": texts, **more}


REFS = [
    ref(1, [1, 2], "both", no_target=False),
    ref(2, [1], "the left one", "the other left one"),
    ref(3, [-1], "a submarine", category_id=[-1], no_target=True),
    ref(4, 4, "a strip", image_id=9),
    ref(5, [1], "training", split="train"),
]


def write(root: Path, refs: list[dict], annotations: list[dict] | None = None, pickled: bool = False) -> Path:
    folder = root / "pictures" / "deep"
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for image_id in (9, 7):
        Image.new("RGB", (WIDTH, HEIGHT), (image_id, 0, 0)).save(folder / f"{image_id}.png")
        images.append({"id": image_id, "file_name": f"deep/{image_id}.png", "height": HEIGHT, "width": WIDTH})
    instances = {"images": images, "annotations": annotations or ANNOTATIONS, "categories": []}
    (root / "instances.json").write_text(json.dumps(instances))
    if pickled:
        (root / "grefs.p").write_bytes(pickle.dumps(refs, 2))
    else:
        (root / "grefs.json").write_text(json.dumps(refs))
    return root


def source(root: Path, refs: list[dict] | None = None, **options: Any) -> ReferFolderSource:
    if refs is not None or not (root / "grefs.json").exists():
        write(root, REFS if refs is None else refs)
    return build(root, "grefs.json", images="pictures", **options)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_picture_has_its_refs_with_unions_of_masks_and_empty_ones(tmp_path: Path, pickled: bool) -> None:
    write(tmp_path, REFS, pickled=pickled)
    found = build(tmp_path, "grefs.p" if pickled else "grefs.json", images="pictures")
    assert found.splits == ("val", "train")
    assert found.keys("val") == [SEVEN, NINE]
    assert found.counts("val") == {"images": 2, "refs": 4, "sentences": 5}
    example = found.load("val", SEVEN)
    assert example.sentences == ("both", "the left one", "the other left one", "a submarine")
    assert example.items == ((0, 1), (1, 2), (3, 1))
    assert [area_px(entry["rle"]) for entry in example.meta["refs"]] == [8 * 14, 64, 0]
    assert [entry["ann_id"] for entry in example.meta["refs"]] == [[1, 2], [1], []]
    assert example.meta["refs"][1]["sent_ids"] == [20, 21]
    assert (example.meta["image_id"], example.meta["file_name"]) == (7, "deep/7.png")
    assert example.image[0, 0].tolist() == [7, 0, 0]
    strip = decode_mask(found.load("val", NINE).meta["refs"][0]["rle"])
    assert np.array_equal(strip.all(axis=0), np.arange(WIDTH) == 0)
    assert found.notices("val") == ["1 refs have no target; their masks are empty (first: ref 2 (id 3))"]


def test_a_pickle_that_names_an_object_is_not_loaded(tmp_path: Path) -> None:
    write(tmp_path, REFS)
    (tmp_path / "evil.p").write_bytes(pickle.dumps(print))
    with pytest.raises(SourceError, match="can run code and was not loaded"):
        build(tmp_path, "evil.p", images="pictures").keys("val")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (ref(8, [1, 99], "x"), "annotation 99 is not in instances.json"),
        (ref(8, [4], "x"), "annotation 4 lies in image 9, the ref in image 7"),
        (ref(8, [3], "x"), r"all its annotations \[3\] are crowds"),
        (ref(8, [-1, 1], "x"), "'ann_id' is .*; expected ids, or -1 alone"),
        (ref(8, [-7], "x"), "'ann_id' is .*; expected ids, or -1 alone"),
        (ref(8, [1], "x", no_target=True), "'no_target' is True and 'ann_id' .*; they contradict"),
        (ref(8, -1, "x", no_target=0), "'no_target' is 0 and 'ann_id' -1; they contradict"),
        (ref(8, ["one"], "x"), "'ann_id' is str; expected int"),
        (ref(8, [1]), "has no sentences"),
        (ref(8, [1], "  "), "sentence 0: is empty"),
        (ref(8, [1], "half \ud83d"), "half of a character"),
        ({**ref(8, [1]), "sentences": [{"sent": 17, "sent_id": 1}]}, "'sent' is int; expected str"),
    ],
)
def test_a_ref_that_cannot_be_used_costs_itself(tmp_path: Path, bad: dict, reason: str) -> None:
    example = source(tmp_path, [bad, *REFS]).load("val", SEVEN)
    assert [entry["ref_id"] for entry in example.meta["refs"]] == [1, 2, 3]
    (fault,) = example.left_out
    assert fault.startswith("ref 0")
    assert re.search(reason, fault)


def test_an_annotation_without_pixels_costs_the_ref_when_it_is_drawn(tmp_path: Path) -> None:
    outside = {**ANNOTATIONS[0], "id": 5, "segmentation": [[100, 100, 120, 100, 120, 120]]}
    write(tmp_path, [ref(8, [5], "x"), *REFS], [*ANNOTATIONS, outside])
    assert source(tmp_path).load("val", SEVEN).left_out == ("ref 0 (id 8): its annotations [5] give an empty mask",)


def test_a_picture_that_is_not_listed_or_an_id_that_is_none_are_rejects(tmp_path: Path) -> None:
    found = source(tmp_path, [ref(8, [-1], "x", image_id=55), ref(9, [1], "x", image_id="seven"), *REFS])
    with pytest.raises(Reject, match=r"ref 0 .*: image 55 is not in instances.json"):
        found.load("val", "000000000055")
    assert found.keys("val")[-1] == "no-picture-000000"
    with pytest.raises(Reject, match="ref 1: 'image_id' is str; expected int"):
        found.load("val", "no-picture-000000")


def test_ids_as_text_are_read_as_numbers_and_double_ones_are_counted(tmp_path: Path) -> None:
    as_text = [{**entry, "id": str(entry["id"])} for entry in ANNOTATIONS]
    again = [{**ANNOTATIONS[1], "id": 2}, {**ANNOTATIONS[3], "id": 4, "area": 5}]
    write(tmp_path, [ref(1, ["1", "2"], "both", image_id="7"), *REFS[1:], REFS[1]], as_text + again)
    found = source(tmp_path)
    example = found.load("val", SEVEN)
    assert area_px(example.meta["refs"][0]["rle"]) == 8 * 14
    assert "1 entries have an id that came before; all are kept (first: ref 5 (id 2))" in found.notices("val")
    assert "4 annotation ids are numbers as text; read as numbers" in found.notices("val")
    with pytest.raises(Reject, match="annotation 4 cannot be used: its id stands twice, with different contents"):
        found.load("val", NINE)


def test_the_identity_follows_files_and_the_rule_but_no_path(tmp_path: Path) -> None:
    first = source(write(tmp_path / "a", REFS))
    assert source(write(tmp_path / "b", REFS)).identity("val") == first.identity("val")
    assert source(tmp_path / "a", mask_rule="exactly_one").identity("val") != first.identity("val")
    assert str(tmp_path) not in json.dumps(first.identity("val"))
    assert pickle.loads(pickle.dumps(first)).identity("val") == first.identity("val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "an empty list; expected a list of refs"),
        ("{}", "holds dict"),
        ("[1]", "ref 0 of 1: is int"),
        ("[", "JSON"),
    ],
)
def test_a_file_that_is_no_list_of_refs_is_refused(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, REFS)
    (tmp_path / "grefs.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        source(tmp_path).keys("val")


def test_what_is_missing_or_unknown_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="pictures: is not a folder; images="):
        build(tmp_path, "grefs.json", images="pictures").keys("val")
    with pytest.raises(SourceError, match="there is no split 'test'; found val, train"):
        source(tmp_path).keys("test")
    with pytest.raises(ConfigError, match="union, exactly_one"):
        build(tmp_path, "grefs.json", mask_rule="sum")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "C:\\x.png", ""])
def test_a_picture_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, REFS)
    instances = json.loads((tmp_path / "instances.json").read_text())
    instances["images"][0]["file_name"] = name
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    with pytest.raises(SourceError, match=r"image 0: 'file_name' is .*; expected a path below the folder"):
        source(tmp_path).keys("val")


def test_the_real_sample_has_the_known_masks(realdata: Path) -> None:
    folder = realdata / "own" / "refer_grefcoco_composed"
    found = build(folder, "grefs(unc).json", images="../../refcoco/images/mscoco/images/train2014")
    assert found.counts("val") == {"images": 3, "refs": 9, "sentences": 12}
    refs = [entry for key in found.keys("val") for entry in found.load("val", key).meta["refs"]]
    areas = {entry["ref_id"]: area_px(entry["rle"]) for entry in refs}
    assert areas == {
        910000: 69540, 910001: 15823, 910002: 0, 910003: 42280, 910004: 14534, 910005: 0, 910006: 53777,
        910007: 18743, 910008: 0,
    }  # fmt: skip
