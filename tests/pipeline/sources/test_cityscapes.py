"""Cityscapes records: the table of classes, both kinds of labels, what is rejected. The real sample is read exactly."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.files.label_png import IGNORE
from pipeline.sources.cityscapes import CLASSES, build
from shards.contract.schema import check_key
from shards.errors import ConfigError, Reject, SourceError

KEY = "ulm%2Fulm_000001_000019"
# train id of every label id, written down a second time from docs/methods/data_layouts.md#cityscapes
TRAIN_IDS = np.full(256, IGNORE, np.uint8)
TRAIN_IDS[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = np.arange(19)


def write(root: Path, split: str, stem: str, values: np.ndarray, label: str = "") -> Path:
    """A picture and its label of the values [H, W]; returns the label's path."""
    label = label or f"gtFine/{split}/{stem}_gtFine_labelIds.png"
    image = root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png"
    for path in (image, root / label):
        path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(sum(map(ord, stem)))
    Image.fromarray(random.integers(0, 256, (*values.shape, 3), np.uint8)).save(image)
    Image.fromarray(values.astype(np.uint8)).save(root / label)
    return root / label


@pytest.fixture
def values() -> np.ndarray:
    """Every label id that a file may hold, and a licence plate, [5, 7]."""
    return np.append(np.arange(34), 255).reshape(5, 7)


@pytest.fixture
def root(tmp_path: Path, values: np.ndarray) -> Path:
    for split, stem in (("train", "aachen/aachen_000000_000019"), ("val", "ulm/ulm_000001_000019")):
        write(tmp_path / "cityscapes", split, stem, values)
    beside = tmp_path / "cityscapes/gtFine/val/ulm/ulm_000001_000019_gtFine"
    for name in ("instanceIds.png", "color.png", "polygons.json"):
        beside.with_name(f"{beside.name}_{name}").write_bytes(b"another form of the label")
    return tmp_path / "cityscapes"


def stored(source: Any, split: str, key: str) -> np.ndarray:
    image = Image.open(io.BytesIO(source.load(split, key).labels["label"]))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.array(image)


def test_label_ids_become_train_ids_and_the_rest_is_ignored(root: Path, values: np.ndarray) -> None:
    found = stored(build(root), "val", KEY)
    assert np.array_equal(found, TRAIN_IDS[values])
    assert np.count_nonzero(found != IGNORE) == 19
    assert list(CLASSES)[found[3, 5]] == "car"  # label id 26


def test_train_ids_are_taken_as_they_are(root: Path) -> None:
    values = np.append(np.arange(19), 255).reshape(4, 5)
    label = write(
        root, "val", "ulm/ulm_000001_000019", values, "gtFine/val/ulm/ulm_000001_000019_gtFine_labelTrainIds.png"
    )
    source = build(root, labels="labelTrainIds")
    assert np.array_equal(stored(source, "val", KEY), values)
    Image.fromarray(np.full((4, 5), 33, np.uint8)).save(label)
    with pytest.raises(Reject, match="value 33 in 20 pixels; with 19 classes expected 0 to 18, 255 for no class"):
        source.load("val", KEY)


def test_a_record_says_where_it_comes_from(root: Path) -> None:
    source = build(root)
    assert source.keys("val") == [KEY]
    check_key(KEY)
    example = source.load("val", KEY)
    assert example.meta == {
        "file_name": "ulm/ulm_000001_000019_leftImg8bit.png",
        "height": 5,
        "width": 7,
        "ignore": IGNORE,
        "classes": 19,
    }
    assert len(source.class_names) == 19
    assert source.class_names[11:14] == ("person", "rider", "car")
    assert source.counts("train") == {"images": 1}
    assert "must not be passed on" in source.card()["licence"]


def test_coarse_labels_come_from_folders_that_can_be_named(root: Path, values: np.ndarray) -> None:
    write(root, "train_extra", "bonn/bonn_1", values, "gtCoarse/train_extra/bonn/bonn_1_gtCoarse_labelIds.png")
    assert np.array_equal(stored(build(root), "train_extra", "bonn%2Fbonn_1"), TRAIN_IDS[values])
    made = np.array([[0, 18, 255]]).repeat(5, axis=0).repeat(3, axis=1)[:, :7]
    write(root, "train_extra", "bonn/bonn_1", made, "convert_autolabelled/bonn/bonn_1_leftImg8bit.png")
    options = {"extra_labels": "convert_autolabelled", "extra_suffix": "_leftImg8bit.png"}
    source = build(root, labels="labelTrainIds", **options)
    assert np.array_equal(stored(source, "train_extra", "bonn%2Fbonn_1"), made)
    assert source.identity("train_extra")["label_folder"] == "convert_autolabelled"
    assert build(root).identity("train") == build(root, **options).identity("train")  # the fine set stays what it is


def test_identity_changes_with_the_labels_and_the_files_but_not_with_the_place(
    root: Path, values: np.ndarray, tmp_path: Path
) -> None:
    first = build(root).identity("val")
    assert first == build(shutil.copytree(root, tmp_path / "elsewhere")).identity("val")
    assert str(tmp_path) not in str(first)
    write(root, "val", "ulm/ulm_000002_000019", values)
    assert build(root).identity("val") != first
    with pytest.raises(SourceError, match="there is no split 'test'; expected one of train, val, train_extra"):
        build(root).identity("test")


def test_a_source_survives_pickling(root: Path) -> None:
    source = build(root, extra_labels="made", extra_suffix="_x.png")
    again = pickle.loads(pickle.dumps(source))
    assert again.load("val", KEY).meta == source.load("val", KEY).meta
    assert again.options == source.options


def test_unknown_values_missing_files_and_other_forms_are_rejects(root: Path, values: np.ndarray) -> None:
    label = write(root, "val", "ulm/ulm_000001_000019", np.where(values == 3, 34, values))
    with pytest.raises(
        Reject, match=r"value 34 in 1 pixels; with 19 classes expected 7 to 8, 11 to 13, 17, 19 to 28, 31"
    ):
        build(root).load("val", KEY)
    Image.fromarray(values.astype(np.uint16)).save(label)  # instanceIds look like this
    with pytest.raises(Reject, match="is a 16-bit grey PNG"):
        build(root).load("val", KEY)
    write(root, "val", "ulm/ulm_000002_000019", values)
    write(root, "val", "ulm/ulm_000003_000019", values).unlink()
    (root / "leftImg8bit/val/ulm/ulm_000002_000019_leftImg8bit.png").unlink()
    source = build(root)
    assert len(source.keys("val")) == 3
    with pytest.raises(Reject, match=r"has no picture: ulm/ulm_000002_000019_leftImg8bit\.png is not in"):
        source.load("val", "ulm%2Fulm_000002_000019")
    with pytest.raises(Reject, match=r"has no label: .*ulm_000003_000019_gtFine_labelIds\.png does not exist"):
        source.load("val", "ulm%2Fulm_000003_000019")


def test_wrong_folders_and_options_stop_the_build_with_advice(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="labels is 'ids'; expected labelIds or labelTrainIds"):
        build(root, labels="ids")
    with pytest.raises(SourceError, match=r"leftImg8bit is one folder further down; pass .*cityscapes"):
        build(root.parent)
    with pytest.raises(SourceError, match=r"is not a Cityscapes folder: leftImg8bit is missing. Found: nothing"):
        build(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"leftImg8bit/train_extra is not a folder; .* holds train, val"):
        build(root).keys("train_extra")
    with pytest.raises(SourceError, match=r"no picture has a label. Found 1 files .* <name>_gtFine_labelTrainIds\.png"):
        build(root, labels="labelTrainIds").keys("val")


def test_the_real_sample_is_read_exactly(realdata: Path, tmp_path: Path) -> None:
    real = realdata / "cityscapes"
    source = build(real)
    assert source.keys("train") == ["aachen%2Faachen_000000_000019", "aachen%2Faachen_000003_000019"]
    for key in source.keys("train"):
        stem = real / "gtFine/train" / key.replace("%2F", "/")
        raw = np.array(Image.open(f"{stem}_gtFine_labelIds.png"))
        label, example = stored(source, "train", key), source.load("train", key)
        assert example.image.shape == (1024, 2048, 3)
        assert np.array_equal(label, TRAIN_IDS[raw])
        instances = np.array(Image.open(f"{stem}_gtFine_instanceIds.png"))  # a second release of the same labels
        assert np.array_equal(label, TRAIN_IDS[np.where(instances >= 1000, instances // 1000, instances)])
        assert (label != IGNORE).mean() > 0.8
    with pytest.raises(SourceError, match=r"leftImg8bit/val is not a folder"):  # the sample has a val label only
        source.keys("val")
    tree = tmp_path / "tree"
    shutil.copytree(real / "gtFine/val", tree / "gtFine/val")
    write(tree, "val", "frankfurt/frankfurt_1", np.zeros((4, 4)))
    with pytest.raises(Reject, match=r"frankfurt_000000_000576_gtFine_labelIds\.png has no picture"):
        build(tree).load("val", "frankfurt%2Ffrankfurt_000000_000576")
