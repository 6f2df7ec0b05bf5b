"""SPair-71k from a miniature of its layout: what is read, and what a damaged annotation says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.keypoint_pairs import spair
from shards.errors import ConfigError, SourceError

PAIR: dict[str, Any] = {
    "category": "cat",
    "src_imname": "a.jpg",
    "trg_imname": "b.jpg",
    "src_imsize": [60, 40, 3],
    "trg_imsize": [50, 30, 3],
    "src_kps": [[3, 4], [59, 39]],
    "trg_kps": [[5, 6], [7, 8]],
    "trg_bndbox": [1, 2, 41, 22],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    (folder / "000000-a-b:cat.json").write_text(json.dumps(PAIR))
    (folder / "000001-b-a:cat.json").write_text(json.dumps(PAIR | {"src_imname": "c.jpg"}))
    (folder / "000002-d-e:bus.json").write_text(json.dumps(PAIR | {"category": "bus"}))
    return tmp_path


def test_pairs_are_read_as_published_those_of_a_category_beside_each_other(root: Path) -> None:
    bus, cat, other = spair.build(str(root)).pairs()
    assert (bus.category, cat.category, other.source.name) == ("bus", "cat", "c.jpg")
    assert cat.source == root / "JPEGImages" / "cat" / "a.jpg"
    assert (cat.source_px, cat.target_px) == ((40, 60), (30, 50))
    assert cat.source_points_px == ((3, 4), (59, 39))
    assert cat.target_points_px == ((5, 6), (7, 8))
    assert cat.target_box_px == (1, 2, 41, 22)


def test_categories_and_a_number_of_each_are_chosen_and_are_the_identitys(root: Path) -> None:
    assert [pair.category for pair in spair.build(str(root), categories=["cat"], limit=1).pairs()] == ["cat"]
    identities = {spair.build(str(root), limit=limit).identity for limit in (0, 1)}
    (root / "PairAnnotation" / "test" / "000000-a-b:cat.json").write_text(
        json.dumps(PAIR | {"trg_bndbox": [0, 0, 9, 9]})
    )
    assert spair.build(str(root)).identity not in identities
    assert len(identities) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"src_kps": [[60, 4], [1, 1]]}, r"the point \(60, 4\) lies outside its picture of 60 x 40"),
        ({"trg_kps": [[1, 1]]}, "marks 2 points in the source and 1 in the target"),
        ({"trg_bndbox": [5, 5, 5, 5]}, "expected .* with an extent"),
        ({"src_imsize": [60]}, "expected 2 numbers or more"),
        ({"src_kps": [[None, 1], [2, 2]]}, "expected 2 numbers or more"),
        ({"category": 3}, "'category'"),
    ],
)
def test_a_pair_that_is_not_as_published_names_its_file(root: Path, wrong: dict[str, Any], said: str) -> None:
    (root / "PairAnnotation" / "test" / "000000-a-b:cat.json").write_text(json.dumps(PAIR | wrong))
    with pytest.raises(SourceError, match=said) as error:
        spair.build(str(root))
    assert "000000-a-b:cat.json" in str(error.value)


def test_what_is_not_there_is_said(root: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'test'"):
        spair.build(str(root), split="tset")
    with pytest.raises(ConfigError, match=r"no pair of test is of the category 'cats'\. Did you mean 'cat'"):
        spair.build(str(root), categories=["cats"])
    with pytest.raises(SourceError, match=r"holds no \.json file"):
        spair.build(str(root), split="val")
