"""Pictures without labels: folders, lists, shares, tars, and every form of captions."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.pictures import build
from shards.errors import ConfigError, Reject, SourceError


def jpeg(level: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), level, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg())
    return root


def tar(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, payload in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))


def test_a_folder_with_sub_folders_and_nothing_else(tmp_path: Path) -> None:
    source = build(folder(tmp_path, "train/b.jpg", "train/sub/a.JPG", "train/notes.html"))
    assert source.keys("train") == ["b", "sub%2Fa"]
    example = pickle.loads(pickle.dumps(source)).load("train", "sub%2Fa")
    assert (example.image.shape, example.sentences, example.items) == ((4, 6, 3), (), ())
    assert (source.item_axis, source.label_fields, source.counts("train")) == ("view", (), {"images": 2})


def test_a_pattern_of_files(tmp_path: Path) -> None:
    folder(tmp_path, "train/b.jpg", "train/sub/cat-1.JPG", "train/.hidden/cat-2.jpg", "train/cat-3.png", "cat-4.jpg")
    found = build(tmp_path, images="{split}/**/cat*")
    assert found.keys("train") == ["cat-3", "sub%2Fcat-1"]
    assert build(tmp_path, images="*/*.jpg").keys("train") == ["train%2Fb"]
    with pytest.raises(SourceError, match=r"no picture in .*/train that \*\*/dog\* matches; expected .jpg"):
        build(tmp_path, images="train/**/dog*").keys("train")
    folder(tmp_path, "[2020]/a.jpg", "2/c.jpg")
    assert build(tmp_path, images="[2020]").keys("train") == ["a"], "a folder of that very name"
    assert build(tmp_path, images="[2020]/*.jpg").keys("train") == ["a"]
    assert build(tmp_path / "[2020]", images="*.jpg").keys("train") == ["a"]
    assert build(tmp_path, images="[0-9]/*.jpg").keys("train") == ["2%2Fc"], "no folder of that name"
    tar(tmp_path / "[2020]/0.tar", {"d.jpg": jpeg()})
    for tars in ("[2020]/*.tar", "[2020]/0.tar"):
        assert build(tmp_path, tars=tars).keys("train") == ["%5B2020%5D%2F0%2Fd"]


def test_lists_and_shares_of_one_folder(tmp_path: Path) -> None:
    folder(tmp_path, *(f"all/{number}.jpg" for number in range(10)))
    (tmp_path / "few.txt").write_text("3.jpg\n7\n")
    assert build(tmp_path, images="all", lists={"few": "few.txt"}).keys("few") == ["3", "7"]
    shared = build(tmp_path, images="all", shares={"train": 0.7, "rest": 0.3})
    assert [len(shared.keys(split)) for split in ("train", "rest")] == [7, 3]
    (tmp_path / "few.txt").write_text("3.jpg\nabsent\n")
    with pytest.raises(SourceError, match="its list names 'absent'"):
        build(tmp_path, images="all", lists={"few": "few.txt"}).keys("few")


def test_captions_beside_pictures_are_sentences_of_one_item(tmp_path: Path) -> None:
    folder(tmp_path, "train/a.jpg", "train/b.jpg")
    (tmp_path / "train/a.txt").write_text("\ufeffa  cat\n\non a mat\n", encoding="utf-8")
    source = build(tmp_path, captions="txt")
    example = source.load("train", "a")
    assert (source.item_axis, example.sentences, example.items) == ("sentence", ("a cat", "on a mat"), ((0, 2),))
    with pytest.raises(Reject, match="picture b has no caption; missing_caption: empty keeps"):
        source.load("train", "b")
    assert build(tmp_path, captions="txt", missing_caption="empty").load("train", "b").sentences == ("",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", json.dumps({"file_name": "sub/a.jpg", "text": "off"}) + "\n"),
        ("metadata.jsonl", json.dumps({"image": "sub\\a.jpg", "captions": ["off"], "url": "https://x"}) + "\n\n"),
        ("captions.csv", "\ufefffile_name, text\nsub/a.jpg, off\n"),
    ],
)
def test_captions_of_a_table_are_found_by_file_name(name: str, text: str, tmp_path: Path) -> None:
    folder(tmp_path, "train/sub/a.jpg")
    (tmp_path / name).write_text(text, encoding="utf-8")
    source = build(tmp_path, captions=name)
    assert source.load("train", "sub%2Fa").sentences == ("off",)
    assert "captions_sha256" in source.identity("train")


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("m.jsonl", '{"text": "a"}', r"entry 1: has text; expected a file name"),
        ("m.jsonl", '{"file_name": "a.jpg", "text": 3}', "the caption of a.jpg is 3; expected text"),
        ("m.jsonl", "[1]", "entry 1: is list; expected an object"),
        ("m.jsonl", "{", "entry 1: is not readable as JSON"),
        ("m.csv", "a,b\n1,2\n", "entry 1: has a, b; expected a file name"),
        ("m.csv", "", "names no picture"),
    ],
)
def test_a_table_of_another_form_is_refused(name: str, text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=match):
        build(tmp_path, captions=name)


@pytest.mark.parametrize(("name", "mode"), [("00000.tar", "w"), ("00000.tar.gz", "w:gz")])
def test_tars_of_img2dataset(name: str, mode: str, tmp_path: Path) -> None:
    private = json.dumps({"url": "https://home", "exif": "GPS"}).encode()
    files = {"000000000.jpg": jpeg(), "000000000.txt": b"a cat", "000000000.json": private, "000000001.json": b"{}"}
    tar(tmp_path / "train" / name, files, mode)
    source = build(tmp_path, tars="{split}/*.tar*", captions="txt")
    assert source.keys("train") == ["train%2F00000%2F000000000"]
    example = pickle.loads(pickle.dumps(source)).load("train", source.keys("train")[0])
    assert example.sentences == ("a cat",)
    assert "home" not in json.dumps(example.meta)
    assert source.identity("train")["pictures"] == 1


def test_a_damaged_picture_and_its_tar_are_named(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", {"x.jpg": jpeg()[:-40]})
    source = build(tmp_path, splits=["train"], tars="*.tar")
    with pytest.raises(Reject, match=r"a\.tar: x\.jpg cannot be decoded"):
        source.load("train", "a%2Fx")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"captions": "blip"}, ConfigError, "expected txt, json:KEY such as json:caption, or a .jsonl"),
        ({"tars": "*.tar", "captions": "m.csv"}, ConfigError, "set captions: txt"),
        ({"missing_caption": "skip"}, ConfigError, "expected one of reject, empty"),
        ({"images": "none"}, SourceError, r"split train: .*none is not a folder"),
        ({"images": "."}, SourceError, "no picture in"),
        ({"tars": "*.tar"}, SourceError, r"\*\.tar: no such file"),
    ],
)
def test_impossible_options_and_empty_places_are_refused(
    options: dict[str, Any], error: type[Exception], match: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=match):
        build(tmp_path, **options).keys("train")
