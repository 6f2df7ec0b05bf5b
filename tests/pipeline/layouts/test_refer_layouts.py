"""Files of sentences, made on the spot: keys, splits, and boxes whose form the pictures leave open or do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders_of_people import H, W, photo, save, sentences

from pipeline.layouts import refer
from pipeline.sources import refer_file, refer_folder
from pipeline.sources.refs.masks import area_px
from shards.errors import ConfigError, SourceError

POLYGON = {"polygon": [[4, 4], [20, 4], [20, 16], [4, 16]]}
AREA = 16 * 12
FILES = {"refer_file": refer_file, "refer_folder": refer_folder}


def values(guess: Any) -> dict[str, Any]:
    return {name: option.value for name, option in guess.options.items()}


def read(root: Path, file: str = "refs.jsonl", **given: Any) -> tuple[Any, set[int]]:
    """The guess, and the areas of all masks of its source's training pictures."""
    guess = refer.look(str(root / "photos"), str(root / file), given)
    source = FILES[guess.source].build(guess.root, **(values(guess) | given))
    loaded = [source.load("train", key) for key in source.keys("train")]
    assert not [line for example in loaded for line in example.left_out]
    assert all(source.keys(split) for split in guess.splits.names)
    return guess, {area_px(ref["rle"]) for example in loaded for ref in example.meta["refs"]}


def test_polygons_and_empty_lists_with_splits_drawn_by_a_seed(tmp_path: Path) -> None:
    guess, areas = read(sentences(tmp_path, POLYGON))
    assert areas == {AREA, 0}
    assert sum(values(guess)["shares"]) == pytest.approx(1)
    assert "10 sentences, 5 entries without a target" in guess.notes
    assert guess.words == 4


def test_a_file_for_each_split(tmp_path: Path) -> None:
    sentences(tmp_path, POLYGON, file="train.jsonl")
    sentences(tmp_path, POLYGON, file="val.jsonl")
    guess, _ = read(tmp_path, "train.jsonl")
    assert (values(guess)["refs"], guess.splits.names) == ("{split}.jsonl", ("train", "val"))
    assert refer.look(str(tmp_path / "photos"), str(tmp_path), {}).options == guess.options


def test_a_key_that_says_the_split(tmp_path: Path) -> None:
    root = sentences(tmp_path, POLYGON, {"subset": "train"})
    lines = (root / "refs.jsonl").read_text().replace("train", "val", 2)
    (root / "refs.jsonl").write_text(lines)
    guess, _ = read(root)
    assert (values(guess)["split_field"], guess.splits.names) == ("subset", ("train", "val"))


@pytest.mark.parametrize(
    ("box", "form", "units"),
    [
        ([20, 12, 10, 8], "xywh", "pixels"),
        ([4, 4, W, H], "xyxy", "pixels"),
        ([0.5, 0.5, 0.25, 0.25], "xywh", "fraction"),
        ([500, 500, 900, 900], "xyxy", "per_mille"),
    ],
)
def test_boxes_that_only_one_form_leaves_in_the_picture(
    box: list[float], form: str, units: str, tmp_path: Path
) -> None:
    guess, areas = read(sentences(tmp_path, {"bbox": [box]}))
    assert (values(guess)["box_form"], values(guess)["units"]) == (form, units)
    assert len(areas) == 2


def test_boxes_that_could_be_both_are_refused_with_the_words(tmp_path: Path) -> None:
    root = sentences(tmp_path, {"bbox": [[2, 2, 10, 8]]})
    with pytest.raises(SourceError, match=r"could be both xywh .* and xyxy .*Say source\.box_form=xywh"):
        refer.look(str(root / "photos"), str(root / "refs.jsonl"), {})
    _, areas = read(root, box_form="xyxy")
    assert areas == {8 * 6, 0}


def test_numbers_up_to_1000_in_larger_pictures_are_asked_about(tmp_path: Path) -> None:
    root = sentences(tmp_path, {"bbox": [[600, 500, 900, 900]]})
    for number in range(5):
        save(root / f"photos/{number}.jpg", np.zeros((1080, 1920, 3), np.uint8))
    with pytest.raises(SourceError, match=r"Say source\.units=pixels or source\.units=per_mille"):
        refer.look(str(root / "photos"), str(root / "refs.jsonl"), {})
    _, areas = read(root, units="pixels", box_form="xyxy")
    assert areas == {300 * 400, 0}


@pytest.mark.parametrize(
    "given", [{"units": "feet"}, {"box_form": "yx"}, {"fields": "sentences"}, {"fields": {"a": 1}}]
)
def test_words_that_are_none_are_refused(given: dict[str, Any], tmp_path: Path) -> None:
    root = sentences(tmp_path, {"bbox": [[4, 4, W, H]]})
    with pytest.raises(ConfigError):
        refer.look(str(root / "photos"), str(root / "refs.jsonl"), given)


def test_masks_of_files_below_a_folder(tmp_path: Path) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[4:16, 4:20] = 255
    save(tmp_path / "masks/thing.png", mask)
    guess, areas = read(sentences(tmp_path, {"mask": ["thing.png"]}))
    assert values(guess)["masks"] == "masks"
    assert areas == {AREA, 0}


def test_other_names_of_keys_are_asked_for_and_taken(tmp_path: Path) -> None:
    root = sentences(tmp_path, POLYGON)
    (root / "refs.jsonl").write_text((root / "refs.jsonl").read_text().replace('"text"', '"question"'))
    with pytest.raises(SourceError, match=r"it has image, question, polygon\. Say source\.fields=\{sentences: KEY\}"):
        refer.look(str(root / "photos"), str(root / "refs.jsonl"), {})
    _, areas = read(root, fields={"sentences": "question"})
    assert areas == {AREA, 0}


def test_refs_in_refer_s_form_beside_their_annotations(tmp_path: Path) -> None:
    images, annotations, refs = [], [], []
    for number in range(4):
        photo(tmp_path / f"photos/{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "height": H, "width": W})
        square = [4, 4, 20, 4, 20, 16, 4, 16]
        annotations.append({"id": 10 + number, "image_id": number, "category_id": 1, "segmentation": [square]})
        target = {"ann_id": [10 + number]} if number % 2 else {"ann_id": [-1], "no_target": True}
        split = "val" if number == 3 else "train"
        sentence = {"sent": "the thing", "sent_id": number}
        refs.append({"ref_id": number, "image_id": number, "split": split, "sentences": [sentence], **target})
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "instances.json").write_text(json.dumps(data))
    (tmp_path / "grefs(unc).json").write_text(json.dumps(refs))
    guess, areas = read(tmp_path, "grefs(unc).json")
    assert (guess.source, guess.splits.names) == ("refer_folder", ("train", "val"))
    assert areas == {AREA, 0}
    (tmp_path / "instances.json").unlink()
    with pytest.raises(SourceError, match=r"instances\.json is not there to say what they are"):
        refer.look(str(tmp_path / "photos"), str(tmp_path / "grefs(unc).json"), {})


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"filename": "0.jpg", "grounding": {"regions": []}}, "grounding boxes in ODVG's form"),
        ({"image": "0.jpg", "text": "the thing"}, "no entry says what its sentence means"),
        ({"image": "absent.jpg", "text": "the thing", **POLYGON}, "such as 'absent.jpg', are not in"),
    ],
)
def test_what_is_no_file_of_refs_is_refused(entry: dict[str, Any], says: str, tmp_path: Path) -> None:
    photo(tmp_path / "photos/0.jpg")
    (tmp_path / "refs.jsonl").write_text(json.dumps(entry) + "\n")
    with pytest.raises(SourceError, match=says):
        refer.look(str(tmp_path / "photos"), str(tmp_path / "refs.jsonl"), {})
