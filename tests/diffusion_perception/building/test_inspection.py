"""Faults are planted in small folders; `check` names each, and says whether a build would be refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion_perception.building.builder import BuildJob
from diffusion_perception.building.inspection import in_words, inspect_build
from diffusion_perception.settings import bind
from pipeline.inspection.findings import Findings, depth_percentiles_m

HEIGHT, WIDTH, PICTURES = 40, 48, 6
RANDOM = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def photo() -> np.ndarray:
    return RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def classes() -> np.ndarray:
    """Class 1 in a box on class 0, and a border of no class."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[10:20, 10:30], label[:2] = 1, 255
    return label


def seg(root: Path, label: np.ndarray | None = None) -> dict[str, Any]:
    """Folders of pictures and labels, and the source that reads them."""
    for split in ("train", "val"):
        for number in range(PICTURES):
            save(root / "images" / split / f"{number}.png", photo())
            save(root / "labels" / split / f"{number}.png", classes() if label is None else label)
    return {"name": "image_folders", "root": str(root), "classes": ["ground", "thing"]}


def depth(root: Path, millimetres: int = 3640) -> dict[str, Any]:
    for split in ("train", "val"):
        for number in range(PICTURES):
            save(root / "images" / split / f"{number}.png", photo())
            values = np.full((HEIGHT, WIDTH), millimetres, np.uint16)
            values[:10] = 0
            save(root / "depths" / split / f"{number}.png", values)
    return {"name": "depth_folders", "root": str(root), "units_per_metre": 1000, "max_depth_m": 10}


def refer(root: Path, entries: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    square = {"polygon": [[4, 4], [20, 4], [20, 20], [4, 20]]}
    for split in ("train", "val"):
        lines: list[Mapping[str, Any]] = []
        for number in range(PICTURES):
            name = f"{split}-{number}.png"
            save(root / "images" / name, photo())
            lines.append({"image": name, "text": f"the square of picture {number}", **square})
        (root / f"{split}.jsonl").write_text("\n".join(map(json.dumps, [*lines, *entries])))
        entries = ()
    return {"name": "refer_file", "root": str(root)}


def checked(source: Mapping[str, Any], max_rejects: float = 0.2, **more: Any) -> dict[str, Findings]:
    """The findings by split; no model exists anywhere."""
    job = {
        "name": "toy",
        "source": dict(source),
        "splits": ["train", "val"],
        "views": {"name": "exact", "size": 64},
        "image": {"name": "sd_vae", "model": "/absent"},
        "text": {"name": "clip_text", "model": "/absent"},
        "settings": {"max_rejects": max_rejects},
        **more,
    }
    return {found.split: found for found in inspect_build(bind(BuildJob, job), lambda line: None)}


def said(found: Mapping[str, Findings]) -> str:
    return "\n".join(in_words(list(found.values())))


def test_what_is_right_is_counted_and_not_refused(tmp_path: Path) -> None:
    found = checked(seg(tmp_path))
    train = found["train"]
    assert (train.tally.pictures, train.tally.items, train.refusals, train.warnings) == (PICTURES, PICTURES, [], [])
    assert train.tally.sizes_px == {(HEIGHT, WIDTH): PICTURES}
    assert train.tally.class_pixels[[0, 1, 255]].tolist() == [PICTURES * n for n in (1624, 200, 96)]
    assert train.tally.class_pictures[[0, 1, 255]].tolist() == [PICTURES] * 3
    assert len(train.tally.drawings) == PICTURES


def test_depth_is_told_in_metres_with_its_holes(tmp_path: Path) -> None:
    found = checked(depth(tmp_path))
    assert depth_percentiles_m(found["val"].tally) == pytest.approx([3.64] * 5)
    assert "val: depth in metres: 1 % 3.640" in said(found)
    assert "25.0% of the pixels without a measurement" in said(found)
    assert not found["val"].refusals


def test_sentences_are_counted_in_words_without_a_tokenizer_and_in_tokens_with_one(
    tmp_path: Path, tiny_sd: Path
) -> None:
    source = refer(tmp_path)
    assert "6 sentences of 5 to 5 words, median 5; cut sentences cannot be counted" in said(checked(source))
    cut = checked(source, text={"name": "clip_text", "model": str(tiny_sd), "length": 4})
    assert cut["train"].tally.cut == PICTURES
    assert "6 of 6 sentences are longer than text.length and will be cut" in said(cut)
    whole = checked(source, text={"name": "clip_text", "model": str(tiny_sd), "length": 77})
    assert (whole["train"].tally.cut, whole["train"].warnings) == (0, [])


def refused(source: Mapping[str, Any], **more: Any) -> str:
    """What is said of a folder that a build would refuse."""
    found = checked(source, **more)
    assert found["train"].refusals, said(found)
    return said(found)


def accepted(source: Mapping[str, Any], **more: Any) -> str:
    found = checked(source, **more)
    assert not any(part.refusals for part in found.values()), said(found)
    return said(found)


def test_masks_of_0_and_255_of_two_classes_are_refused(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:20] = 255
    assert re.search("REFUSED: .*only 'ground' occurs.* told that it is right everywhere", refused(seg(tmp_path, mask)))


def test_a_wrong_unit_of_depth_is_refused_with_the_right_one(tmp_path: Path) -> None:
    """Fifths of a millimetre, read as millimetres."""
    assert re.search(
        r"REFUSED: .*median depth .* is 18\.2 m.*1/5000 m 3\.64 \(inside\)", refused(depth(tmp_path, 18200))
    )


def test_a_class_that_never_occurs_is_named(tmp_path: Path) -> None:
    source = {**seg(tmp_path), "classes": ["ground", "thing", "bird"]}
    assert "warning: 1 of 3 classes are never seen: bird" in accepted(source)


def test_a_class_of_val_that_train_lacks_is_named(tmp_path: Path) -> None:
    source = {**seg(tmp_path), "classes": ["ground", "thing", "bird"]}
    label = classes()
    label[30:] = 2
    save(tmp_path / "labels/val/0.png", label)
    assert "val: warning: classes that train does not show: bird" in accepted(source)


def test_a_value_that_nobody_declared_is_counted_and_refused_beyond_the_limit(tmp_path: Path) -> None:
    source = seg(tmp_path)
    label = classes()
    label[30:] = 7
    save(tmp_path / "labels/train/0.png", label)
    assert re.search("warning: 1 pictures cannot be used. The first, 0: .*7", accepted(source))
    assert "REFUSED: train: 1 of 6 examples were rejected" in refused(source, max_rejects=0.1)


def test_an_unreadable_file_is_named_with_its_reason(tmp_path: Path) -> None:
    source = seg(tmp_path)
    (tmp_path / "images/train/2.png").write_bytes(b"no picture")
    assert re.search(
        r"train: warning: 1 pictures cannot be used. The first, 2: .*2\.png cannot be decoded", accepted(source)
    )


def test_a_picture_whose_label_was_made_before_it_was_turned_is_named(tmp_path: Path) -> None:
    source = seg(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    save(tmp_path / "images/train/1.png", photo(), exif=exif)
    assert re.search("warning: 1 pictures cannot be used. The first, 1: .*orientation", accepted(source))


def test_twelve_bits_in_a_picture_of_16_are_named(tmp_path: Path) -> None:
    source = seg(tmp_path)
    save(tmp_path / "images/train/1.png", RANDOM.integers(0, 4096, (HEIGHT, WIDTH), dtype=np.uint16))
    assert re.search("warning: 1 pictures cannot be used. The first, 1: .*16", accepted(source))


def test_a_missing_label_is_named(tmp_path: Path) -> None:
    source = seg(tmp_path)
    (tmp_path / "labels/train/3.png").unlink()
    assert re.search("The first, 3: picture .* has no label", accepted(source))


def test_a_picture_of_train_in_val_is_named_even_as_another_file(tmp_path: Path) -> None:
    source = seg(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "images/train/4.png"))
    save(tmp_path / "images/val/1.png", pixels, compress_level=0)
    shutil.copy(tmp_path / "images/train/4.png", tmp_path / "images/train/5.png")
    printed = accepted(source)
    assert "val: warning: 1 pictures are in another split too. The first: 1, as 4 of train" in printed
    assert "train: warning: 1 pictures are here twice. The first: 5, as 4" in printed


def test_a_bad_ref_costs_itself_and_is_named(tmp_path: Path) -> None:
    bad = {"image": "train-0.png", "text": "a line", "polygon": [[1, 2]]}
    found = checked(refer(tmp_path, [bad]))
    assert (len(found["train"].tally.entries), found["train"].tally.pictures) == (1, PICTURES)
    assert re.search(
        r"warning: 1 entries of usable pictures are left out. The first, train-0: .*train\.jsonl", said(found)
    )
    assert "REFUSED: train: 1 of 7 entries were left out" in refused(refer(tmp_path, [bad]), max_rejects=0.1)


def test_an_empty_sentence_is_named(tmp_path: Path) -> None:
    empty = {"image": "train-0.png", "sentences": ["the grey square", " "], "polygon": []}
    assert re.search("left out. The first, train-0: .*(empty|no text)", accepted(refer(tmp_path, [empty])))


def test_a_sentence_without_a_target_is_counted(tmp_path: Path) -> None:
    nothing = {"image": "train-0.png", "text": "the green square", "polygon": []}
    assert "train: 7 refs, 1 of them without a target" in accepted(refer(tmp_path, [nothing]))


def test_a_split_that_is_not_there_does_not_hide_the_others(tmp_path: Path) -> None:
    source = seg(tmp_path)
    shutil.rmtree(tmp_path / "images/val")
    found = checked(source)
    assert not found["train"].refusals
    assert re.search("val is not a folder", found["val"].refusals[0])


def test_a_picture_that_breaks_off_is_named(tmp_path: Path) -> None:
    source = seg(tmp_path)
    path = tmp_path / "images/train/2.png"
    path.write_bytes(path.read_bytes()[:2000])
    assert re.search(r"The first, 2: .*2\.png cannot be decoded", accepted(source))


def test_a_label_of_another_size_is_named(tmp_path: Path) -> None:
    source = seg(tmp_path)
    save(tmp_path / "labels/train/2.png", classes()[:-1])
    assert re.search("The first, 2: .*39", accepted(source))


def test_lossy_labels_are_named(tmp_path: Path) -> None:
    source = {**seg(tmp_path), "label_suffix": ".jpg"}
    for split in ("train", "val"):
        for number in range(PICTURES):
            save(tmp_path / "labels" / split / f"{number}.jpg", classes())
    assert re.search("REFUSED: .*(none of 6 labels can be read|6 of 6 examples)", refused(source))


def test_colours_in_place_of_values_are_named(tmp_path: Path) -> None:
    label = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    label[10:20] = (128, 64, 128)
    assert re.search("REFUSED: .*none of 6 labels can be read.*RGB", refused(seg(tmp_path, label)))


def test_labels_that_are_ignored_everywhere_are_refused(tmp_path: Path) -> None:
    assert "every pixel of all 6 labels" in refused(seg(tmp_path, np.full((HEIGHT, WIDTH), 255, np.uint8)))


def test_a_depth_file_without_a_measurement_is_named(tmp_path: Path) -> None:
    source = depth(tmp_path)
    save(tmp_path / "depths/train/2.png", np.zeros((HEIGHT, WIDTH), np.uint16))
    assert re.search("The first, 2: depth .* has no measurement", accepted(source))


def test_depth_in_8_bits_is_refused(tmp_path: Path) -> None:
    source = depth(tmp_path)
    for split in ("train", "val"):
        for number in range(PICTURES):
            save(tmp_path / "depths" / split / f"{number}.png", np.full((HEIGHT, WIDTH), 200, np.uint8))
    assert re.search("REFUSED: .*none of 6 depth files can be read.*8", refused(source))


def test_depth_that_is_hardly_measured_is_named(tmp_path: Path) -> None:
    source = depth(tmp_path)
    for split in ("train", "val"):
        for number in range(PICTURES):
            values = np.zeros((HEIGHT, WIDTH), np.uint16)
            values[0, 0] = 3640
            save(tmp_path / "depths" / split / f"{number}.png", values)
    assert "train: warning: only 0.1% of the pixels have a measurement" in accepted(source)


def test_half_of_a_utf_16_pair_costs_its_entry(tmp_path: Path) -> None:
    lone = {"image": "train-0.png", "text": "the \ud800 square", "polygon": []}
    assert re.search(
        "1 entries of usable pictures are left out. The first, train-0: .*line 7", accepted(refer(tmp_path, [lone]))
    )


def test_a_polygon_outside_its_picture_costs_its_entry(tmp_path: Path) -> None:
    outside = {"image": "train-0.png", "text": "a line", "polygon": [[400, 4], [420, 4], [420, 20]]}
    assert re.search("left out. The first, train-0: .*leaves the picture", accepted(refer(tmp_path, [outside])))


def test_ids_that_come_twice_are_counted(tmp_path: Path) -> None:
    entries = [{"image": "train-0.png", "id": 7, "text": text, "polygon": []} for text in ("one", "two")]
    assert re.search(
        "train: the source says: 1 entries have an id that came before", accepted(refer(tmp_path, entries))
    )


def test_a_size_that_is_not_the_picture_s_is_named(tmp_path: Path) -> None:
    wrong = {"image": "train-0.png", "text": "a line", "polygon": [], "height": 480, "width": 640}
    assert re.search("1 pictures cannot be used. The first, train-0: .*480", accepted(refer(tmp_path, [wrong])))


def test_a_picture_that_no_file_is_is_named(tmp_path: Path) -> None:
    absent = {"image": "gone.png", "text": "a line", "polygon": []}
    assert re.search(r"The first, gone: .*gone\.png does not exist", accepted(refer(tmp_path, [absent])))
