"""RefCOCO records: what is in them, what is rejected, what stops the build. The real sample is compared exactly."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from pipeline.sources.refcoco.source import PUBLISHED, RefcocoSource, build
from shards.errors import ConfigError, Reject, SourceError
from tests.pipeline.sources.refer_miniature import (
    IMAGES,
    REAL,
    SQUARE,
    annotation,
    needs_real_sample,
    ref,
    write_folder,
    write_instances,
)

REFS = [
    ref(5, 9, 4, "second image"),
    ref(1, 7, 3, "the Square ", "the Square ", "café"),
    ref(0, 7, 3, "again", split="val"),
    ref(2, 7, 6, "crowd"),
]
CROWD = {"size": [16, 20], "counts": [16, 16, 288]}
ANNOTATIONS = [annotation(3, 7, [SQUARE]), annotation(4, 9, [SQUARE]), annotation(6, 7, CROWD)]
SEVEN = "000000000007"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", REFS, ANNOTATIONS, image_ids=(7, 9))


def photo(root: Path, image_id: int = 7) -> Path:
    return root / IMAGES / f"COCO_train2014_{image_id:012d}.jpg"


def test_keys_are_image_ids_in_ascending_order(root: Path) -> None:
    assert build(root).keys("train") == [SEVEN, "000000000009"]


def test_a_record_is_one_image_with_the_refs_of_its_split_in_file_order(root: Path) -> None:
    example = build(root).load("train", SEVEN)
    assert example.sentences == ("the Square ", "the Square ", "café", "crowd")
    assert example.items == ((0, 3), (3, 1))
    assert {key: example.meta[key] for key in ("image_id", "file_name", "height", "width")} == {
        "image_id": 7,
        "file_name": "COCO_train2014_000000000007.jpg",
        "height": 16,
        "width": 20,
    }
    first, second = example.meta["refs"]
    assert (first["ref_id"], first["ann_id"], first["category_id"], first["split"]) == (1, 3, 1, "train")
    assert first["sent_ids"] == [10, 11, 12]
    crowd = coco.decode(second["rle"])
    assert crowd[:, 1].all()
    assert crowd.sum() == 16
    assert np.array_equal(example.image, np.array(Image.open(photo(root))))


def test_another_split_of_the_same_image_holds_only_its_own_refs(root: Path) -> None:
    assert build(root).load("val", SEVEN).sentences == ("again",)


def test_counts_are_those_of_the_split(root: Path) -> None:
    assert build(root).counts("train") == {"images": 2, "refs": 3, "sentences": 5}


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_photographs_that_are_not_rgb_are_converted(root: Path, mode: str) -> None:
    Image.new(mode, (20, 16)).save(photo(root))
    assert build(root).load("train", SEVEN).image.shape == (16, 20, 3)


def test_many_threads_share_one_source(root: Path) -> None:
    source = build(root)
    with ThreadPoolExecutor(8) as pool:
        examples = list(pool.map(lambda key: source.load("train", key), source.keys("train") * 20))
    assert all(np.array_equal(example.image, examples[0].image) for example in examples[::2])


def test_a_source_travels_with_what_it_has_read(root: Path) -> None:
    source = build(root, mask_rule="exactly_one")
    unread = pickle.dumps(source)
    assert len(unread) < 1000
    examples = {key: source.load("train", key) for key in source.keys("train")}
    copy = pickle.loads(pickle.dumps(source))
    for path in (root / "refcoco").iterdir():
        path.write_bytes(b"")
    assert copy.identity("train") == source.identity("train")
    for key, example in examples.items():
        assert (copy.load("train", key).meta, copy.load("train", key).sentences) == (example.meta, example.sentences)
    with pytest.raises(SourceError):
        pickle.loads(unread).keys("train")


class Derived(RefcocoSource):
    """As somebody's own plug-in may be."""

    added = ""


def test_what_a_derived_source_adds_travels_with_it(root: Path) -> None:
    source = Derived(root, "refcoco", "unc", "union")
    source.added = "more"
    copy = pickle.loads(pickle.dumps(source))
    assert (type(copy), copy.added, copy.keys("train")) == (Derived, "more", source.keys("train"))


def test_identity_does_not_depend_on_where_the_folder_is(root: Path, tmp_path: Path) -> None:
    before = build(root).identity("train")
    moved = shutil.move(root, tmp_path / "moved")
    assert build(moved).identity("train") == before
    assert str(tmp_path) not in json.dumps(before)
    assert set(before["sha256"]) == {"refs(unc).p", "instances.json"}


def test_identity_changes_with_the_annotations_and_the_mask_rule(root: Path) -> None:
    before = build(root).identity("train")
    assert build(root, mask_rule="exactly_one").identity("train") != before
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(REFS[:3], 2))
    assert build(root).identity("train") != before


def test_the_card_states_licence_and_published_counts(root: Path) -> None:
    card = build(root).card()
    assert card["splits"]["testA"] == {"images": 750, "refs": 1975, "sentences": 5657}
    assert "CC BY 4.0" in card["licence"]
    assert "sentences" not in build(root, split_by="google").card()["splits"]["train"]


@pytest.mark.parametrize(("dataset", "split_by"), PUBLISHED)
def test_every_published_combination_has_a_source(dataset: str, split_by: str) -> None:
    assert build("/nowhere", dataset, split_by).splits == tuple(PUBLISHED[dataset, split_by])


@pytest.mark.parametrize(("dataset", "split_by"), [("refcoco+", "google"), ("refcocog", "unc"), ("refclef", "unc")])
def test_an_unknown_combination_lists_the_valid_ones(dataset: str, split_by: str) -> None:
    with pytest.raises(SourceError, match=r"dataset=refcocog split_by=umd \(train, val, test\)"):
        build("/nowhere", dataset, split_by)


def test_an_unknown_mask_rule_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="union, exactly_one"):
        build("/nowhere", mask_rule="sum")


def test_an_unknown_split_lists_the_valid_ones(root: Path) -> None:
    with pytest.raises(SourceError, match="no split 'test'; expected one of train, val, testA, testB"):
        build(root).keys("test")


def test_a_split_without_refs_names_the_splits_that_are_there(root: Path) -> None:
    with pytest.raises(
        SourceError, match="none of its 4 refs belongs to the split 'testB'; found the splits train, val"
    ):
        build(root).keys("testB")


def test_an_unknown_key_shows_what_keys_look_like(root: Path) -> None:
    with pytest.raises(SourceError, match="has no image '7'; keys look like 000000000007"):
        build(root).load("train", "7")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        build(tmp_path / "absent").keys("train")


def test_a_wrong_layout_shows_what_was_found_and_expected(root: Path) -> None:
    shutil.move(root / "images/mscoco/images/train2014", root / "images/train2014")
    with pytest.raises(SourceError) as caught:
        build(root).keys("train")
    message = str(caught.value)
    assert "missing images/mscoco/images/train2014. Found: images/, refcoco/." in message
    assert "Expected refcoco/refs(unc).p, refcoco/instances.json and images/mscoco/images/train2014/" in message


def test_pointing_at_the_dataset_folder_itself_is_explained(root: Path) -> None:
    with pytest.raises(SourceError, match=f"pass its parent, {root}"):
        build(root / "refcoco").keys("train")


def rejects(root: Path, message: str, key: str = SEVEN) -> None:
    with pytest.raises(Reject, match=message):
        build(root).load("train", key)


def test_a_missing_photograph_is_rejected_and_others_load(root: Path) -> None:
    photo(root).unlink()
    rejects(root, "image 7: .*COCO_train2014_000000000007.jpg does not exist")
    assert build(root).load("train", "000000000009").sentences == ("second image",)


def test_a_truncated_jpeg_is_rejected(root: Path) -> None:
    photo(root).write_bytes(photo(root).read_bytes()[:-200])
    rejects(root, "image 7: .* cannot be decoded: .*truncated")


def test_a_file_that_is_no_picture_is_rejected(root: Path) -> None:
    photo(root).write_bytes(b"<html>404</html>")
    rejects(root, "image 7: .* cannot be decoded")


def test_a_photograph_of_another_size_is_rejected(root: Path) -> None:
    Image.new("RGB", (16, 20)).save(photo(root))
    rejects(root, "image 7: .* is 20 x 16, the annotations say 16 x 20")


def with_refs(root: Path, *records: dict[str, Any]) -> Path:
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(list(records), 2))
    return root


def test_a_ref_to_a_missing_annotation_is_rejected(root: Path) -> None:
    rejects(with_refs(root, ref(8, 7, 12345, "x")), r"ref 8 of image 7: annotation 12345 is not in .*instances\.json")


def test_a_ref_to_an_annotation_of_another_image_is_rejected(root: Path) -> None:
    rejects(with_refs(root, ref(8, 7, 4, "x")), "ref 8 of image 7: annotation 4 lies in image 9")


def test_a_ref_to_a_missing_image_is_rejected(root: Path) -> None:
    rejects(with_refs(root, ref(8, 55, 3, "x")), "ref 8 points to image 55", key="000000000055")


def test_a_ref_without_sentences_is_rejected(root: Path) -> None:
    rejects(with_refs(root, ref(8, 7, 3)), "ref 8 of image 7 has no sentences")


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[100, 100, 120, 100, 120, 120]], "annotation 3 .* gives an empty mask"),
        ({"size": [16, 20], "counts": [320]}, "gives an empty mask"),
        ({"size": [16, 20], "counts": [400]}, "ref 1 of image 7: annotation 3 .* do not add up"),
        ([[1, 2, 3, 4]], "annotation 3 .* at least 3 points"),
    ],
)
def test_an_empty_or_damaged_mask_costs_its_ref_alone(root: Path, segmentation: Any, message: str) -> None:
    entry = {"id": 7, "file_name": photo(root).name, "height": 16, "width": 20}
    write_instances(root, [entry], [annotation(3, 7, segmentation), *ANNOTATIONS[1:]])
    example = build(root).load("train", SEVEN)
    assert (example.sentences, example.items) == (("crowd",), ((0, 1),))
    assert [ref["ref_id"] for ref in example.meta["refs"]] == [2]
    (reason,) = example.left_out
    assert re.search(message, reason)


def test_a_ref_without_sentences_or_with_a_strange_annotation_leaves_the_others(root: Path) -> None:
    broken = [ref(8, 7, 3), ref(9, 7, 12345, "gone"), ref(10, 7, 4, "elsewhere"), *REFS]
    example = build(with_refs(root, *broken)).load("train", SEVEN)
    assert [found["ref_id"] for found in example.meta["refs"]] == [1, 2]
    assert [reason.split(":")[0] for reason in example.left_out] == [
        f"ref 8 of image 7 has no sentences in {root / 'refcoco' / 'refs(unc).p'}",
        "ref 9 of image 7",
        "ref 10 of image 7",
    ]


def test_empty_sentences_are_kept_as_published_and_said(root: Path) -> None:
    source = build(with_refs(root, *REFS, ref(30, 7, 3, "  ", "")))
    assert source.notices("train") == ["2 empty sentences, such as of ref 30, which are kept"]
    assert build(root).notices("val") == []


@needs_real_sample
@pytest.mark.parametrize(
    ("dataset", "split_by", "split", "images", "refs", "sentences"),
    [
        ("refcoco", "unc", "train", 16, 26, 33),
        ("refcoco", "unc", "val", 6, 18, 51),
        ("refcoco", "unc", "testA", 2, 6, 18),
        ("refcoco", "unc", "testB", 6, 15, 44),
        ("refcoco+", "unc", "val", 6, 18, 54),
        ("refcocog", "umd", "val", 7, 13, 24),
        ("refcocog", "google", "val", 21, 22, 22),
        ("refcocog", "google", "train", 7, 13, 24),
    ],
)
def test_the_real_sample_is_read_exactly(
    dataset: str, split_by: str, split: str, images: int, refs: int, sentences: int
) -> None:
    source = build(REAL, dataset, split_by)
    assert source.counts(split) == {"images": images, "refs": refs, "sentences": sentences}

    records = pickle.loads((REAL / dataset / f"refs({split_by}).p").read_bytes())
    instances = json.loads((REAL / dataset / "instances.json").read_text())
    segmentations = {entry["id"]: entry["segmentation"] for entry in instances["annotations"]}
    seen = 0
    for key in source.keys(split):
        example = source.load(split, key)
        own = [record for record in records if record["split"] == split and record["image_id"] == int(key)]
        assert [found["ref_id"] for found in example.meta["refs"]] == [record["ref_id"] for record in own]
        for found, (first, count), record in zip(example.meta["refs"], example.items, own, strict=True):
            assert found["sent_ids"] == [sentence["sent_id"] for sentence in record["sentences"]]
            texts = [sentence["sent"] for sentence in record["sentences"]]
            assert list(example.sentences[first : first + count]) == texts
            parts: Any = coco.frPyObjects(segmentations[record["ann_id"]], example.height_px, example.width_px)
            assert np.array_equal(coco.decode(found["rle"]), coco.decode(parts).max(axis=2))
            seen += 1
    assert seen == refs


@needs_real_sample
@pytest.mark.parametrize(
    ("source", "ann_id", "overlap_px"),
    [(build(REAL, "refcoco", "unc"), 216066, 4), (build(REAL, "refcocog", "umd"), 41510, 106)],
)
def test_the_published_mask_rule_loses_the_known_overlaps(source: RefcocoSource, ann_id: int, overlap_px: int) -> None:
    refer = source._refer()
    found = next(ref for ref in refer.refs if ref.ann_id == ann_id)
    union = coco.decode(refer.mask(found, "union"))  # type: ignore
    published = coco.decode(refer.mask(found, "exactly_one"))  # type: ignore
    assert union.sum() - published.sum() == overlap_px
    assert not (published & ~union).any()
