"""ADE20K records: what is in them, what is rejected, what stops the build. The real sample is compared exactly."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.files.label_png import IGNORE
from pipeline.sources.ade20k import build, read_objects
from shards.errors import Reject, SourceError
from tests.pipeline.sources.ade_miniature import FIVE_COLUMNS, SIX_COLUMNS, write_pair, write_tree

KEY = "ADE_val_00000001"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "ADEChallengeData2016")


def label_path(root: Path, key: str = KEY) -> Path:
    return root / "annotations/validation" / f"{key}.png"


def stored(payload: object) -> np.ndarray:
    assert isinstance(payload, bytes)
    image = Image.open(io.BytesIO(payload))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.array(image)


def test_label_0_is_ignored_and_the_others_move_down_by_one(root: Path) -> None:
    written = write_pair(root, "validation", KEY)
    label = stored(build(root).load("validation", KEY).labels["label"])
    assert np.array_equal(label, np.array([IGNORE, 0, 1, 2])[written])


def test_a_record_says_where_it_comes_from(root: Path) -> None:
    example = build(root).load("validation", KEY)
    assert example.meta == {
        "file_name": f"{KEY}.jpg",
        "height": 6,
        "width": 9,
        "ignore": IGNORE,
        "classes": 3,
        "scene": "art_gallery",
    }
    assert np.array_equal(example.image, np.array(Image.open(root / "images/validation" / f"{KEY}.jpg")))
    assert build(root).load("training", "ADE_train_00000002").meta["scene"] == ""  # not in the table


def test_grey_pictures_become_rgb(root: Path) -> None:
    write_pair(root, "validation", KEY, grey=True)
    assert Image.open(root / "images/validation" / f"{KEY}.jpg").mode == "L"
    image = build(root).load("validation", KEY).image
    assert image.shape == (6, 9, 3)
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize("text", [FIVE_COLUMNS, SIX_COLUMNS, "\ufeff" + SIX_COLUMNS.replace("\n", "\r\n")])
def test_both_forms_of_the_class_table_are_read_by_their_header(text: str, tmp_path: Path) -> None:
    path = tmp_path / "objectInfo150.txt"
    path.write_text(text, newline="")
    assert read_objects(path) == (("wall",), ("building", "edifice"), ("sky",))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"its header is \[\]; expected the columns Idx and Name"),
        ("a\tb\n1\t2\n", r"its header is \['a', 'b'\]"),
        (FIVE_COLUMNS.replace("2\t0.3", "7\t0.3"), "row 2 has Idx '7'; expected 1, 2, 3"),
        (FIVE_COLUMNS.replace("sky", " , "), "row 3 has no name"),
    ],
)
def test_a_class_table_of_another_form_stops_the_build(text: str, match: str, root: Path) -> None:
    (root / "objectInfo150.txt").write_text(text)
    with pytest.raises(SourceError, match=match):
        build(root)


def test_a_scene_line_of_another_form_stops_the_build(root: Path) -> None:
    (root / "sceneCategories.txt").write_text("ADE_val_00000001\n")
    with pytest.raises(SourceError, match=r"sceneCategories.txt, line 1: 'ADE_val_00000001'; expected"):
        build(root).load("validation", KEY)


def test_keys_are_file_names_in_order_and_count_every_picture(root: Path) -> None:
    source = build(root)
    assert source.keys("training") == ["ADE_train_00000001", "ADE_train_00000002"]
    assert source.counts("training") == {"images": 2}
    assert source.class_names == ("wall", "building", "sky")


def test_identity_changes_with_tables_names_and_sizes_but_not_with_the_place(root: Path, tmp_path: Path) -> None:
    first = build(root).identity("training")
    assert first == build(shutil.copytree(root, tmp_path / "elsewhere")).identity("training")
    assert str(tmp_path) not in str(first)
    write_pair(root, "training", "ADE_train_00000003")
    second = build(root).identity("training")
    assert second != first
    (root / "objectInfo150.txt").write_text(SIX_COLUMNS)
    assert build(root).identity("training") != second


def test_a_source_survives_pickling(root: Path) -> None:
    again = pickle.loads(pickle.dumps(build(root)))
    assert again.load("validation", KEY).meta == build(root).load("validation", KEY).meta


def test_a_value_above_the_class_count_is_a_reject(root: Path) -> None:
    Image.fromarray(np.full((6, 9), 4, np.uint8)).save(label_path(root))
    with pytest.raises(Reject, match="value 4 in 54 pixels; with 3 classes expected 1 to 3, 0 or 255 for no class"):
        build(root).load("validation", KEY)


def test_another_size_of_the_label_is_a_reject(root: Path) -> None:
    Image.fromarray(np.zeros((9, 6), np.uint8)).save(label_path(root))
    with pytest.raises(Reject, match=r"is 6 x 9, its label .* is 9 x 6 \(height x width\)"):
        build(root).load("validation", KEY)


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.zeros((6, 9), np.uint16), "16-bit grey"),
        (np.zeros((6, 9, 3), np.uint8), "8-bit RGB"),
        (np.zeros((6, 9, 4), np.uint8), "8-bit RGBA"),
        (np.zeros((6, 9), bool), "1-bit grey"),
    ],
)
def test_a_label_with_other_bits_or_channels_is_a_reject(pixels: np.ndarray, kind: str, root: Path) -> None:
    Image.fromarray(pixels).save(label_path(root))
    with pytest.raises(Reject, match=f"is a {kind} PNG; expected 8-bit, one channel"):
        build(root).load("validation", KEY)


def test_missing_and_damaged_files_are_rejects(root: Path) -> None:
    write_pair(root, "validation", "ADE_val_00000002")
    write_pair(root, "validation", "ADE_val_00000003")
    label_path(root, "ADE_val_00000002").unlink()
    (root / "images/validation/ADE_val_00000003.jpg").unlink()
    source = build(root)
    assert len(source.keys("validation")) == 3  # none is left out in silence
    with pytest.raises(Reject, match=r"has no label: .*ADE_val_00000002\.png does not exist"):
        source.load("validation", "ADE_val_00000002")
    with pytest.raises(Reject, match=r"has no picture: ADE_val_00000003\.jpg is not in"):
        source.load("validation", "ADE_val_00000003")
    for path in (label_path(root), root / "images/validation" / f"{KEY}.jpg"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(Reject, match=r"cannot be decoded"):
            source.load("validation", KEY)
        path.write_bytes(b"no picture at all, whatever its name says")
        with pytest.raises(Reject, match=r"is not a PNG|cannot be decoded"):
            source.load("validation", KEY)
        path.write_bytes(whole)


def test_a_folder_without_pairs_stops_the_build_and_says_what_it_holds(root: Path) -> None:
    for path in (root / "annotations/validation").iterdir():
        path.rename(path.with_suffix(".tif"))
    with pytest.raises(SourceError, match=r"no picture has a label. Found 1 files \(ADE_val_00000001.jpg\)"):
        build(root).keys("validation")


def test_wrong_folders_stop_the_build_with_advice(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"one folder further down; pass .*ADEChallengeData2016"):
        build(root.parent)
    with pytest.raises(SourceError, match=r"is not an ADEChallengeData2016 folder"):
        build(tmp_path / "nowhere")
    shutil.rmtree(root / "annotations")
    with pytest.raises(SourceError, match=r"annotations/validation is not a folder"):
        build(root).keys("validation")
    with pytest.raises(SourceError, match="there is no split 'val'; expected one of training, validation"):
        build(root).keys("val")


def test_the_real_sample_is_read_exactly(realdata: Path) -> None:
    root = realdata / "ade20k/ADEChallengeData2016"
    source = build(root)
    assert len(source.class_names) == 150
    assert source.class_names[:4] == ("wall", "building", "sky", "floor")
    found = {split: source.keys(split) for split in source.splits}
    assert {split: len(keys) for split, keys in found.items()} == {"training": 3, "validation": 22}
    for split, keys in found.items():
        for key in keys:
            example = source.load(split, key)
            raw = np.array(Image.open(root / "annotations" / split / f"{key}.png"))
            label = stored(example.labels["label"])
            assert label.shape == raw.shape == example.image.shape[:2]
            assert (example.meta["height"], example.meta["width"]) == raw.shape
            before, after = np.bincount(raw.ravel(), minlength=256), np.bincount(label.ravel(), minlength=256)
            assert np.array_equal(after, np.r_[before[1:151], np.zeros(105, int), before[0]])
            assert example.meta["scene"]
