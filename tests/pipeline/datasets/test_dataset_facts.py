"""The descriptions: what they say fits the sources, in folders that the sources read, and every one is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from pipeline import sources
from pipeline.sources import ade20k, cityscapes, coco_keypoints, kitti, nyuv2, refcoco, refer_folder
from pipeline.stocktaking import names
from pipeline.stocktaking.facts import Dataset
from pipeline.stocktaking.look import take_stock
from tests.pipeline.sources import ade_miniature, coco_miniature, refer_miniature

DATASETS = {name: names.described(name) for name in names.known()}


@pytest.mark.parametrize("name", DATASETS)
def test_a_description_is_whole(name: str) -> None:
    dataset = DATASETS[name]
    archives = {archive.name for archive in dataset.archives}
    assert dataset.page.startswith("https://")
    assert dataset.terms.endswith(".")
    assert dataset.builds
    assert [part.archive for parts in dataset.forms.values() for part in parts if part.archive not in archives] == []
    for archive in dataset.archives:
        kind, _, rest = archive.digest.partition(" ")
        digest = rest.partition(",")[0]
        assert not kind or re.fullmatch({"sha1": "[0-9a-f]{40}", "sha256": "[0-9a-f]{64}"}[kind], digest), archive.name
    for mirror in dataset.mirrors:
        assert re.fullmatch(r"(\d{4}-\d\d)?", mirror.seen), mirror.url


def paths(dataset: Dataset) -> set[str]:
    return {part.path for part in next(iter(dataset.forms.values()))}


def test_counts_are_those_that_the_sources_publish() -> None:
    assert [refcoco.source.PUBLISHED["refcoco", "unc"][s][0] for s in ("train", "val", "testA", "testB")]
    for name, by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        images = sum(counts[0] for counts in refcoco.source.PUBLISHED[name, by].values())
        assert [p.files for p in names.described(name).forms[by] if p.path.endswith(".jpg")] == [images]
    pictures = {part.what: part.files for part in DATASETS["coco"].forms["keypoints"]}
    for split, counts in coco_keypoints.source.PUBLISHED.items():
        assert pictures[f"{split} pictures"] >= counts["images"]


def test_parts_of_ade20k_are_what_its_source_reads(tmp_path: Path) -> None:
    root = ade_miniature.write_tree(tmp_path)
    source = ade20k.build(root)
    found = {found.part.path: found.files for found in take_stock("ade20k", DATASETS["ade20k"], root).found}
    assert found["images/training/*.jpg"] == found["annotations/training/*.png"] == len(source.keys("training")) == 2
    assert found["images/validation/*.jpg"] == len(source.keys("validation")) == 1
    assert found[ade20k.OBJECTS] == found[ade20k.SCENES] == 1


def test_parts_of_refcoco_are_what_its_source_reads(tmp_path: Path) -> None:
    refs = [refer_miniature.ref(1, 7, 11, "left"), refer_miniature.ref(2, 8, 12, "right")]
    square = [[0, 0, 9, 0, 9, 9, 0, 9]]
    annotations = [refer_miniature.annotation(11, 7, square), refer_miniature.annotation(12, 8, square)]
    root = refer_miniature.write_folder(tmp_path, refs, annotations, (7, 8))
    assert len(refcoco.build(root).keys("train")) == 2
    stock = take_stock("refcoco", DATASETS["refcoco"], root)
    assert [(found.files, found.expected) for found in stock.found] == [(1, 1), (1, 1), (2, 2)]
    assert [found.fault for found in stock.found][2] == "the dataset names 2, published are 19,994"
    next((root / refcoco.source.IMAGES).glob("*.jpg")).unlink()
    assert len(take_stock("refcoco", DATASETS["refcoco"], root).found[2].missing) == 1


def test_parts_of_grefcoco_are_what_its_configuration_reads() -> None:
    from diffusion_perception import settings

    said = settings.to_plain(settings.read_file("configs/build/grefcoco.yaml")["source"])
    assert said["name"] == refer_folder.source.ReferFolderSource.name
    assert paths(DATASETS["grefcoco"]) == {said["refs"], said["instances"], f"{said['images']}/*.jpg"}


def test_parts_of_coco_are_what_its_source_reads(tmp_path: Path) -> None:
    root = coco_miniature.write_coco(tmp_path)
    assert coco_keypoints.build(root).keys("val2017")
    assert [found.files for found in take_stock("coco", DATASETS["coco"], root).found] == [1, 1, 5, 5]


def test_parts_of_cityscapes_are_what_its_source_reads(tmp_path: Path) -> None:
    for folder, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        place = tmp_path / folder / "val" / "ulm"
        place.mkdir(parents=True)
        Image.new("RGB" if end == folder else "L", (8, 4)).save(place / f"ulm_000000_000019_{end}.png")
    assert len(cityscapes.build(tmp_path).keys("val")) == 1
    assert [found.files for found in take_stock("c", DATASETS["cityscapes"], tmp_path).found] == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["kitti", "nyuv2"])
def test_parts_of_depth_lists_are_what_their_sources_read(name: str, tmp_path: Path) -> None:
    """A line of each list, written from the description, is a pair that the source loads."""
    dataset = DATASETS[name]
    parts = next(iter(dataset.forms.values()))
    listed, image, depth = parts[3:]  # of the test split
    base = {"kitti": "", "nyuv2": nyuv2.folders.FOLDERS["test"]}[name]
    for part, mode in ((image, "RGB"), (depth, "I;16")):
        path = tmp_path / part.path.replace("_*", "_00000").replace("*/", "kitchen/", 1).replace("*", "kitchen")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (8, 4), 256 if mode == "I;16" else 0).save(path)
    (tmp_path / listed.path).parent.mkdir(parents=True, exist_ok=True)
    pair = [next(tmp_path.glob(part.path)).relative_to(tmp_path / base) for part in (image, depth)]
    (tmp_path / listed.path).write_text(f"/{pair[0]} /{pair[1]}\n")
    source = {"kitti": kitti, "nyuv2": nyuv2}[name].build(tmp_path)
    if name == "kitti":
        (key,) = source.keys("test")
        assert source.load("test", key).image.shape == (4, 8, 3)
    else:
        (tmp_path / nyuv2.folders.FOLDERS["train"]).mkdir(parents=True, exist_ok=True)
        assert source.keys("test") == ["kitchen-rgb_00000"]
    stock = take_stock(name, dataset, tmp_path)
    assert [(found.files, found.expected) for found in stock.found[3:]] == [(1, 1)] * 3


def test_a_dataset_has_the_name_of_a_source_or_of_what_one_reads() -> None:
    known = {path.stem for path in Path(next(iter(sources.__path__))).iterdir()}
    assert set(DATASETS) - known == {"coco", "grefcoco", "refcoco_plus", "refcocog"}
