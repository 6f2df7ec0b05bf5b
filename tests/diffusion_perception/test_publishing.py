"""Whether sets may be published: what recipes and cards name, what leaves this machine, and by whose word."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from diffusion_perception.publishing import publish_sets
from pipeline.stocktaking.leave import datasets_in
from shards.errors import ConfigError
from shards.upkeep.merging import merge_sets
from shards.upkeep.publication import CARD
from shards.writing.writer import seal_set, write_shard
from tests.shards.toy_set import SCHEMA, toy_records

KEPT = ("ade20k", "nyuv2", "kitti", "cityscapes")


def made_of(folder: Path, source: Any, url: str = "", first: int = 0) -> Path:
    shard = write_shard(folder, f"{folder.name}-000000", SCHEMA, toy_records(first, first + 2))
    recipe = {"source": source}
    seal_set(folder, name=folder.name, split="val", recipe=recipe, schema=SCHEMA, shards=[shard], card={"url": url})
    return folder


@pytest.fixture
def bucket() -> str:
    return f"memory://{uuid.uuid4().hex}/sets"


@pytest.mark.parametrize("name", KEPT)
def test_a_set_of_data_that_is_kept_leaves_this_machine_by_an_explicit_word_alone(
    name: str, tmp_path: Path, bucket: str
) -> None:
    made = made_of(tmp_path / name, {"name": name})
    with pytest.raises(ConfigError, match=r"not to be passed on:\n  (.|\n)*say --i-may-publish(.|\n)*Nothing was"):
        publish_sets([made], bucket)
    assert not fsspec.filesystem("memory").exists(bucket)
    publish_sets([made], tmp_path / "disk")  # a folder is no publication
    publish_sets([made], bucket, may_publish=True)
    card = fsspec.filesystem("memory").cat_file("/".join((bucket, CARD))).decode()
    assert "stated that they may. The terms of" in card


def test_a_known_copy_and_a_part_of_a_merged_set_are_known_too(tmp_path: Path, bucket: str) -> None:
    url = "https://huggingface.co/datasets/zhoubolei/scene_parse_150"
    rows = made_of(tmp_path / "rows", {"name": "hf_dataset"}, url)
    merged = made_of(tmp_path / "merged", {"name": "merged", "of": [{"name": "coco_keypoints"}, {"name": "kitti"}]})
    others = made_of(tmp_path / "others", {"name": "hf_dataset"}, "https://example.invalid/others", first=2)
    merge_sets([others, rows], tmp_path / "both")  # its card has both addresses
    for made in (rows, merged, tmp_path / "both"):
        with pytest.raises(ConfigError, match="not to be passed on"):
            publish_sets([made], bucket)


def test_other_sets_are_published_and_what_nobody_knows_is_said(tmp_path: Path, bucket: str) -> None:
    said: list[str] = []
    publish_sets([made_of(tmp_path / "own", {"name": "image_folders"})], bucket, say=said.append)
    assert said[0] == "own: of no dataset whose terms are known here; that it may be passed on, you must know"
    publish_sets([made_of(tmp_path / "refer", {"name": "refcoco"})], bucket, say=said.append)
    assert not any(line.startswith("refer: of no") for line in said)


def test_every_dataset_of_the_issue_is_known_by_the_name_of_its_source() -> None:
    found = {name: data.keep for source in (*KEPT, "refcoco+") for name, data in _of(source).items()}
    assert found == dict.fromkeys(KEPT, True) | {"refcoco_plus": False}


def _of(source: str) -> dict[str, Any]:
    return datasets_in({"source": {"name": "x", "dataset": source}})
