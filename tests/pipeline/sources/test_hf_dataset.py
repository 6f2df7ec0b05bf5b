"""Datasets of the `datasets` library, saved on the spot: every kind of data, from disk, from files and streamed."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from pipeline.sources.hf_dataset import build
from pipeline.sources.hf_dataset.rows import RowContent, Rows
from pipeline.views import exact
from shards.errors import ConfigError, FingerprintMismatch, Reject, SourceError
from tests.pipeline.toys import Build, ToyVae, digests

datasets = pytest.importorskip("datasets")
PICTURE = datasets.Image()
ROWS = 5


def png(pixels: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def photo(row: int) -> np.ndarray:
    return np.full((6, 8, 3), row * 10, np.uint8)


def mask(row: int) -> np.ndarray:
    values = np.zeros((6, 8), np.uint8)
    values[:3, : row + 1] = 255
    return values


def table(columns: dict[str, list[Any]], pictures: tuple[str, ...] = ("photo",)) -> Any:
    made = datasets.Dataset.from_dict({"photo": [png(photo(row)) for row in range(ROWS)], **columns})
    for column in pictures:
        made = made.cast_column(column, PICTURE)
    return made


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library prepares of files goes into the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    made = table({"mask": [png(mask(row)) for row in range(ROWS)]}, ("photo", "mask"))
    datasets.DatasetDict({"train": made, "validation": made.select([3])}).save_to_disk(tmp_path / "masks")
    return tmp_path / "masks"


SEGMENTATION: dict[str, Any] = {
    "columns": {"image": "photo", "label": "mask"},
    "classes": ["sound", "crack"],
    "values": {"0": "sound", "255": "crack"},
}


def label_of(example: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(example.labels["label"])))


def test_labels_are_read_by_the_same_rules_as_those_of_folders(masks: Path) -> None:
    source = build(str(masks), splits={"train": "train", "val": "validation"}, **SEGMENTATION)
    assert tuple(source.splits) == ("train", "val")
    assert source.keys("train") == [f"{row:09d}" for row in range(ROWS)]
    assert source.counts("val") == {"images": 1}
    example = source.load("train", "000000002")
    assert np.array_equal(example.image, photo(2))
    assert np.array_equal(label_of(example), (mask(2) == 255).astype(np.uint8))
    assert "5 of 5 labels looked at: sound" in source.notices("train")[0]
    assert np.array_equal(source.load("val", "000000000").image, photo(3))


def test_a_value_that_is_not_declared_is_refused_with_row_and_column(masks: Path) -> None:
    source = build(str(masks), columns=SEGMENTATION["columns"], classes=["sound", "crack"])
    with pytest.raises(SourceError, match="only 'sound' occurs in all 5 labels"):
        source.notices("train")
    source = build(str(masks), columns=SEGMENTATION["columns"], classes=["sound"], ignore_values=[])
    with pytest.raises(Reject, match="label row 2 of masks train, mask: value 255 in 9 pixels is not declared"):
        source.load("train", "000000002")


def test_identity_is_of_the_content_and_the_columns_and_the_same_after_pickling(masks: Path) -> None:
    source = build(str(masks), **SEGMENTATION)
    again = pickle.loads(pickle.dumps(source))
    assert again.identity("train") == source.identity("train") == build(str(masks), **SEGMENTATION).identity("train")
    assert str(masks.parent) not in str(source.identity("train"))
    assert build(str(masks), limit=3, **SEGMENTATION).identity("train") != source.identity("train")
    other = {**SEGMENTATION, "columns": {"image": "mask", "label": "mask"}}
    assert build(str(masks), **other).identity("train") != source.identity("train")


def test_files_that_are_written_anew_are_another_content_streamed_or_not(parquet: Path) -> None:
    ways: list[dict[str, Any]] = [{}, {"streaming": True, "limit": ROWS}]
    before = [build(str(parquet), **way, **SEGMENTATION).identity("train") for way in ways]
    other = table({"mask": [png(mask(0)) for _ in range(ROWS)]}, ("photo", "mask"))
    other.select([0, 1]).to_parquet(str(parquet / "train-00001-of-00002.parquet"))
    after = [build(str(parquet), **way, **SEGMENTATION).identity("train") for way in ways]
    assert all(old["rows"] == new["rows"] and old != new for old, new in zip(before, after, strict=True))


def test_a_set_follows_its_dataset_and_encodes_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(place: str, rows: int, changed: int = -1) -> Build:
        photos = [photo(20 if row == changed else row) for row in range(rows)]
        made = datasets.Dataset.from_dict({"photo": [png(one) for one in photos], "mask": [png(mask(0))] * rows})
        made.cast_column("photo", PICTURE).cast_column("mask", PICTURE).save_to_disk(tmp_path / "data")
        source: Any = build(str(tmp_path / "data"), splits={"train": "train"}, **SEGMENTATION)
        return Build(tmp_path / place / "toys", source, ToyVae(), None, exact.build(8))

    saved("set", 8).run()
    followed = saved("set", 10, changed=5)
    stale = followed.begin().situation.stale
    assert [(one.shard.index, one.why[0]) for one in stale] == [
        (1, "000000005: row changed"),
        (2, "is not built"),
    ]
    followed.run()
    assert isinstance(followed.vae, ToyVae)
    assert len(followed.vae.shapes) == 2  # a batch of the changed row, one of those that came
    fresh = saved("fresh", 10, changed=5)
    fresh.run()
    monkeypatch.setattr(RowContent, "read_bytes", lambda self: pytest.fail("the dataset is what it was"))
    assert fresh.begin().is_done
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")
    limited = build(str(tmp_path / "data"), splits={"train": "train"}, limit=3, **SEGMENTATION)
    with pytest.raises(FingerprintMismatch, match=r"source.limit: 3 here, absent in toys"):
        Build(tmp_path / "set" / "toys", limited, ToyVae(), None, exact.build(8)).begin()  # type: ignore[arg-type]


def test_what_has_no_splits_is_not_taken_for_each_of_them(parquet: Path, tmp_path: Path) -> None:
    table({"mask": [png(mask(row)) for row in range(ROWS)]}, ("photo", "mask")).save_to_disk(tmp_path / "one")
    for place in (tmp_path / "one", parquet / "train-00000-of-00002.parquet", parquet / "*.parquet"):
        with pytest.raises(ConfigError, match="train, val would each be all of its rows"):
            build(str(place), splits={"train": "train", "val": "validation"}, **SEGMENTATION)
        source = build(str(place), splits={"all": "train"}, shares={"train": 0.6, "val": 0.4}, **SEGMENTATION)
        assert not set(source.keys("train")) & set(source.keys("val"))


def test_shares_divide_the_rows_of_one_split(masks: Path) -> None:
    shares = {"train": 0.6, "val": 0.4}
    source = build(str(masks), shares=shares, **SEGMENTATION)
    parts = [source.keys(split) for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == [f"{row:09d}" for row in range(ROWS)]
    assert [len(part) for part in parts] == [3, 2]
    assert build(str(masks), shares=shares, seed=1, **SEGMENTATION).identity("val") != source.identity("val")


@pytest.mark.parametrize("as_array", [False, True])
def test_depth_is_in_the_declared_unit(as_array: bool, tmp_path: Path) -> None:
    values = [np.full((6, 8), 1000 + 500 * row, np.uint16) for row in range(ROWS)]
    column = [value.astype(float).tolist() if as_array else png(value) for value in values]
    table({"range": column}, ("photo",) if as_array else ("photo", "range")).save_to_disk(tmp_path / "rooms")
    options: dict[str, Any] = {"columns": {"image": "photo", "depth": "range"}, "max_depth_m": 10}
    source = build(str(tmp_path / "rooms"), units_per_metre=1000, **options)
    stored = source.load("train", "000000002").labels["depth"]
    depth_m = stored if isinstance(stored, np.ndarray) else np.asarray(Image.open(io.BytesIO(stored))) / 1000
    assert np.allclose(depth_m, 2.0)
    assert isinstance(stored, np.ndarray) is as_array
    assert "median 2.000" in source.notices("train")[0]
    with pytest.raises(SourceError, match=r"millimetres 2 \(inside\)"):
        build(str(tmp_path / "rooms"), units_per_metre=1, **options).notices("train")


TARGETS = {
    "mask": [[png(mask(row))] for row in range(ROWS)],
    "polygon": [[[0.0, 0, row + 1, 0, row + 1, 3, 0, 3]] for row in range(ROWS)],
    "box": [[0.0, 0, row + 1, 3] for row in range(ROWS)],
    "rle": [{"size": [6, 8], "counts": [0] + [3, 3] * row + [3, 3 + 6 * (7 - row)]} for row in range(ROWS)],
}


@pytest.mark.parametrize("kind", TARGETS)
def test_sentences_point_to_a_target_of_any_form(kind: str, tmp_path: Path) -> None:
    made = table({"says": [["the crack", f"number {row}"] for row in range(ROWS)], "where": TARGETS[kind]})
    if kind == "mask":
        made = made.cast_column("where", datasets.List(PICTURE))
    made.save_to_disk(tmp_path / "refs")
    columns = {"image": "photo", "sentences": "says", kind: "where"}
    source = build(str(tmp_path / "refs"), columns=columns, box_form="xyxy" if kind == "box" else "")
    assert source.counts("train") == {"images": ROWS, "refs": ROWS, "sentences": 2 * ROWS}
    key = source.keys("train")[2]
    example = source.load("train", key)
    assert example.sentences == ("the crack", "number 2")
    assert np.array_equal(example.image, photo(2))
    rle = example.meta["refs"][0]["rle"]
    assert np.array_equal(coco.decode(rle), (mask(2) == 255).astype(np.uint8))
    assert source.identity("train") == pickle.loads(pickle.dumps(source)).identity("train")


def test_a_row_without_sentence_or_target_costs_itself(tmp_path: Path) -> None:
    says = ["a", "", "c", None, "e"]
    table({"says": says, "where": [*TARGETS["box"][:4], None]}).save_to_disk(tmp_path / "refs")
    columns = {"image": "photo", "sentences": "says", "box": "where"}
    source = build(str(tmp_path / "refs"), columns=columns, box_form="xyxy")
    assert "3 entries cannot be used" in source.notices("train")[-1]
    keys = source.keys("train")
    assert len(keys) == ROWS
    for row in (1, 3, 4):
        with pytest.raises(Reject, match=f"row {row}"):
            source.load("train", keys[row])


def test_lists_of_masks_are_counted_without_reading_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = [[png(mask(0)), png(mask(1))], [], None, [png(mask(3))], [png(mask(4))]]
    made = table({"says": ["the crack"] * ROWS, "where": lists}).cast_column("where", datasets.List(PICTURE))
    made.save_to_disk(tmp_path / "refs")
    columns = {"image": "photo", "sentences": "says", "mask": "where"}
    source = build(str(tmp_path / "refs"), columns=columns)
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "value", lambda *_: pytest.fail("a picture was read"))
        keys = source.keys("train")
    areas = [int(coco.decode(source.load("train", keys[row]).meta["refs"][0]["rle"]).sum()) for row in (0, 1, 3)]
    assert areas == [3 * 2, 0, 3 * 4]  # the union of the two, nothing, the one
    with pytest.raises(Reject, match="row 2: has no mask; an empty list stands for nothing"):
        source.load("train", keys[2])


def test_depth_whose_first_row_has_none_is_still_of_its_kind(tmp_path: Path) -> None:
    column = [None, *(png(np.full((6, 8), 2000, np.uint16)) for _ in range(ROWS - 1))]
    table({"range": column}, ("photo", "range")).save_to_disk(tmp_path / "rooms")
    columns = {"image": "photo", "depth": "range"}
    source = build(str(tmp_path / "rooms"), columns=columns, units_per_metre=1000, max_depth_m=10)
    assert isinstance(source.load("train", "000000001").labels["depth"], bytes)
    with pytest.raises(Reject, match="the row has no value there"):
        source.load("train", "000000000")


def test_pictures_with_captions_and_without(tmp_path: Path) -> None:
    table({"text": ["one", "two", "", None, "five"]}).save_to_disk(tmp_path / "photos")
    place = str(tmp_path / "photos")
    assert build(place, columns={"image": "photo"}).counts("train") == {"images": ROWS}
    source = build(place, columns={"image": "photo", "caption": "text"})
    assert source.load("train", "000000001").sentences == ("two",)
    for key in ("000000002", "000000003"):
        with pytest.raises(Reject, match="has no caption"):
            source.load("train", key)
    kept = build(place, columns={"image": "photo", "caption": "text"}, missing_caption="empty")
    assert kept.load("train", "000000003").sentences == ("",)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    made = table({"mask": [png(mask(row)) for row in range(ROWS)]}, ("photo", "mask"))
    made.select([0, 1, 2]).to_parquet(str(tmp_path / "files" / "train-00000-of-00002.parquet"))
    made.select([3, 4]).to_parquet(str(tmp_path / "files" / "train-00001-of-00002.parquet"))
    return tmp_path / "files"


def test_files_of_a_folder_with_brackets_in_its_name(parquet: Path) -> None:
    there = parquet.rename(parquet.with_name("files [20]"))
    for place, rows in ((there / "*.parquet", 5), (there / "train-00000-of-00002.parquet", 3)):
        assert len(build(str(place), **SEGMENTATION).keys("train")) == rows
    with pytest.raises(SourceError, match=r"takes \[ in a folder's name for a pattern"):
        build(str(there), **SEGMENTATION).keys("train")


def test_a_stream_gives_the_rows_that_the_files_give_in_any_order(parquet: Path) -> None:
    random = build(str(parquet), **SEGMENTATION)
    stream = build(str(parquet), streaming=True, limit=ROWS, **SEGMENTATION)
    assert stream.keys("train") == random.keys("train")
    for row in (3, 0, 4, 1, 2):
        key = f"{row:09d}"
        assert np.array_equal(stream.load("train", key).image, photo(row))
        assert np.array_equal(label_of(stream.load("train", key)), label_of(random.load("train", key)))
    assert "a stream, which does not say how many rows it has: limit takes 5" in stream.notices("train")[0]
    assert pickle.loads(pickle.dumps(stream)).identity("train") == stream.identity("train")


def test_a_stream_of_sentences_whose_first_row_has_no_target(tmp_path: Path) -> None:
    where = [None, *TARGETS["rle"][1:]]
    table({"says": ["the crack"] * ROWS, "where": where}).to_parquet(str(tmp_path / "train.parquet"))
    columns = {"image": "photo", "sentences": "says", "rle": "where"}
    stream = build(str(tmp_path / "train.parquet"), columns=columns, streaming=True, limit=ROWS)
    assert stream.identity("train")["rows"] == ROWS
    assert stream.load("train", stream.keys("train")[2]).sentences == ("the crack",)


def test_a_stream_of_pictures_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for row in range(2):
            archive.writestr(f"{row}.png", png(photo(row))["bytes"])
    source = build(str(tmp_path), columns={"image": "image"}, streaming=True, limit=2)
    assert np.array_equal(source.load("train", "000000001").image, photo(1))


def test_a_stream_that_fails_is_not_taken_for_one_that_ended(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = build(str(parquet), columns={"image": "photo"}, streaming=True, limit=ROWS)
    rows = source.rows.rows("train")
    whole = rows._data

    class Failing:
        def __iter__(self) -> Any:
            yield next(iter(whole))
            raise ConnectionError("the network is away")

    monkeypatch.setattr(rows, "_data", Failing())
    for _ in range(2):
        with pytest.raises(SourceError, match="cannot be read: ConnectionError: the network is away"):
            rows.value(1, "image")
    monkeypatch.setattr(rows, "_data", whole)
    assert rows.value(1, "image")["bytes"] == png(photo(1))["bytes"]


def test_a_stream_says_what_its_limit_must_be(parquet: Path) -> None:
    with pytest.raises(ConfigError, match="streaming needs limit"):
        build(str(parquet), streaming=True, **SEGMENTATION)
    short = build(str(parquet), streaming=True, limit=9, **SEGMENTATION)
    with pytest.raises(SourceError, match=r"ended after 5 rows, and limit is 9; set limit to 5"):
        short.load("train", "000000008")


def test_one_file_and_a_pattern(parquet: Path) -> None:
    one = build(str(parquet / "train-00001-of-00002.parquet"), **SEGMENTATION)
    assert one.counts("train") == {"images": 2}
    assert build(str(parquet / "*.parquet"), limit=4, **SEGMENTATION).counts("train") == {"images": 4}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"columns": {"label": "mask"}}, "names no image"),
        ({"columns": {"image": "photo", "labels": "mask"}}, "Did you mean 'label'"),
        ({"columns": {"image": "photo", "label": "mask", "depth": "mask"}}, "expected image alone, or with one of"),
        ({"columns": {"image": "photo", "sentences": "mask"}}, "sentences and one of mask"),
        ({"columns": {"image": "photo"}, "max_depth_m": 3.0}, "max_depth_m is of depth, for which columns needs depth"),
        ({"columns": {"image": "photo"}, "classes": ["a"]}, "classes are of labels and of depth"),
        ({"columns": {"image": "photo"}, "orientation": "stored"}, "orientation is that of labels and of depth"),
        ({**SEGMENTATION, "shares": {"a": 1.0}, "splits": {"a": "train", "b": "validation"}}, "shares divide one"),
        ({**SEGMENTATION, "limit": -1}, "limit is -1"),
        ({"columns": {"image": "photo", "sentences": "mask", "box": "mask"}}, "box_form: xywh"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], match: str, masks: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        build(str(masks), **options)


def test_what_is_not_there_is_named(masks: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no column 'nothing'; found photo, mask"):
        build(str(masks), columns={"image": "nothing"}).keys("train")
    with pytest.raises(SourceError, match="no split 'test'; found train, validation"):
        build(str(masks), columns={"image": "photo"}, splits={"a": "test"}).keys("a")
    with pytest.raises(SourceError, match="there is no such folder or file"):
        build(str(tmp_path / "absent"), columns={"image": "photo"}).keys("train")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"broken\.parquet.*cannot be opened"):
        build(str(tmp_path / "broken.parquet"), columns={"image": "photo"}).keys("train")


def test_a_damaged_picture_is_a_reject(tmp_path: Path) -> None:
    made = datasets.Dataset.from_dict({"photo": [b"no picture", b"", None], "path": ["0.png", "1.png", "2.png"]})
    made.save_to_disk(tmp_path / "bytes")
    source = build(str(tmp_path / "bytes"), columns={"image": "photo"})
    for key in source.keys("train"):
        with pytest.raises(Reject, match=r"row [012] of bytes train, photo"):
            source.load("train", key)
    with pytest.raises(Reject, match=r"row 0 .*, path: is neither a picture nor an array of numbers, but str"):
        build(str(tmp_path / "bytes"), columns={"image": "path"}).load("train", "000000000")


def test_without_the_library_the_words_to_type_are_given(masks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-perception\[hf\]'"):
        build(str(masks), **SEGMENTATION)


def test_all_that_a_row_holds_is_its_content(tmp_path: Path) -> None:
    def contents(**changed: Any) -> list[bytes]:
        columns: dict[str, list[Any]] = {
            "says": [["a"]] * ROWS,
            "where": TARGETS["box"][:ROWS],
            "mask": [png(mask(0))] * ROWS,
        }
        table({**columns, **changed}, ("photo", "mask")).save_to_disk(tmp_path / "refs")
        source = build(
            str(tmp_path / "refs"), columns={"image": "photo", "sentences": "says", "box": "where"}, box_form="xyxy"
        )
        found = [source.files_of("train", key) for key in source.keys("train")]
        return [files["row"].read_bytes() for files in found if files]  # type: ignore[union-attr]

    before = contents()
    assert len(set(before)) == ROWS  # by their pictures
    assert contents() == before
    other = contents(says=[["a"]] * 3 + [["b"], ["a"]])
    assert [one == two for one, two in zip(before, other, strict=True)] == [True, True, True, False, True]
    assert contents(mask=[png(mask(1))] * ROWS) == before  # a column that is not read


def test_pictures_that_lie_in_files_of_their_own_are_followed_by_their_content(tmp_path: Path) -> None:
    def contents(folder: Path) -> list[bytes]:
        source = build(str(folder), columns={"image": "image"})
        found = [source.files_of("train", key) for key in source.keys("train")]
        return [files["row"].read_bytes() for files in found if files]  # type: ignore[union-attr]

    folder = tmp_path / "photos"
    folder.mkdir()
    for row in range(3):
        (folder / f"{row}.png").write_bytes(png(photo(row))["bytes"])
    before = contents(folder)
    (folder / "1.png").write_bytes(png(photo(9))["bytes"])
    after = contents(folder)
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]
    assert contents(folder.rename(tmp_path / "moved")) == after
    (tmp_path / "moved" / "2.png").unlink()
    assert contents(tmp_path / "moved") == after[:2]


def test_of_a_stream_no_row_is_followed(parquet: Path) -> None:
    source = build(str(parquet), streaming=True, limit=ROWS, **SEGMENTATION)
    assert source.files_of("train", "000000000") is None
    assert source.file_entries == ()
