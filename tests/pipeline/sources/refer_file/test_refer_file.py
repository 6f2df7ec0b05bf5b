"""A JSONL of one's own: every form of a target, every rule of splits, and entries that cost themselves."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion_perception import plugins
from pipeline.sources.refer_file import ReferFileSource, build
from pipeline.sources.refs.masks import area_px, decode_mask, encode_pixels
from shards.errors import ConfigError, Reject, SourceError

HEIGHT, WIDTH = 30, 40
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[5:15, 10:30] = True  # 10 x 20, and the box [10, 5, 30, 15]
POLYGON = [10, 5, 30, 5, 30, 15, 10, 15]


def write(root: Path, *entries: Any, name: str = "train.jsonl", form: str = "lines") -> Path:
    (root / "images" / "deep").mkdir(parents=True, exist_ok=True)
    for picture in ("a.png", "deep/b.png"):
        Image.new("RGB", (WIDTH, HEIGHT), "grey").save(root / "images" / picture)
    Image.fromarray(MASK.astype(np.uint8) * 255).save(root / "m.png")
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    text = "\n".join(lines) if form == "lines" else f"[{','.join(lines)}]"
    (root / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    return root


def entry(image: str = "a.png", text: Any = "the box", **target: Any) -> dict[str, Any]:
    return {"image": image, "text": text, **(target or {"polygon": POLYGON})}


def source(root: Path, *entries: Any, **options: Any) -> ReferFileSource:
    write(root, *entries)
    return build(root, splits=["train"], **options)


def only(found: ReferFileSource) -> dict[str, Any]:
    """The one ref of the picture a.png."""
    (ref,) = found.load("train", "a").meta["refs"]
    return ref


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ({"mask": "m.png"}, {}),
        ({"masks": ["m.png", "m.png"]}, {}),
        ({"polygon": POLYGON}, {}),
        ({"polygons": [POLYGON]}, {}),
        ({"polygon": [[10, 5], [30, 5], [30, 15], [10, 15]]}, {}),
        ({"Polygons": [[[[10, 5], [20, 5], [20, 15], [10, 15]]], [[[20, 5], [30, 5], [30, 15], [20, 15]]]]}, {}),
        ({"segmentation": [POLYGON]}, {}),
        ({"segmentation": encode_pixels(MASK)}, {}),
        ({"segmentation": [encode_pixels(MASK), encode_pixels(MASK)]}, {}),
        ({"rle": {"size": [HEIGHT, WIDTH], "counts": [10 * 30 + 5, *([10, 20] * 19), 10, 15 + 10 * 30]}}, {}),
        ({"box": [10, 5, 20, 10]}, {"box_form": "xywh"}),
        ({"bbox": [[10, 5, 30, 15]]}, {"box_form": "xyxy"}),
        ({"box": [0.25, 1 / 6, 0.75, 0.5]}, {"box_form": "xyxy", "units": "fraction"}),
        ({"box": [250, 500 / 3, 500, 1000 / 3]}, {"box_form": "xywh", "units": "per_mille"}),
        ({"polygon": [0.25, 1 / 6, 0.75, 1 / 6, 0.75, 0.5, 0.25, 0.5]}, {"units": "fraction"}),
        ({"mask": "m.png", "bbox": [1, 2, 3, 4]}, {}),  # the mask is meant, and its box needs no form
        ({"what": POLYGON}, {"fields": {"polygon": "what"}}),
    ],
)
def test_a_target_of_every_form_is_the_same_mask(tmp_path: Path, target: dict, options: dict) -> None:
    assert np.array_equal(decode_mask(only(source(tmp_path, entry(**target), **options))["rle"]), MASK)


@pytest.mark.parametrize(
    "target",
    [
        *({"polygons": []}, {"segmentation": []}, {"bbox": []}, {"mask": []}, {"no_target": True}),
        *({"rle": encode_pixels(MASK & False)}, {"polygon": [], "no_target": 1}),
    ],
)
def test_an_empty_list_or_an_empty_mask_is_no_target(tmp_path: Path, target: dict) -> None:
    assert area_px(only(source(tmp_path, entry(**target)))["rle"]) == 0


def test_a_picture_has_all_its_entries_in_order(tmp_path: Path) -> None:
    found = source(
        tmp_path,
        entry(text=["the box", "a rectangle"]),
        entry("deep/b.png", "elsewhere"),
        entry(text="nothing", polygon=[]),
    )
    assert found.keys("train") == ["a", "deep%2Fb"]
    assert found.counts("train") == {"images": 2, "refs": 3, "sentences": 4}
    example = found.load("train", "a")
    assert (example.sentences, example.items) == (("the box", "a rectangle", "nothing"), ((0, 2), (2, 1)))
    assert example.meta["file_name"] == "a.png"
    assert [ref["entry"] for ref in example.meta["refs"]] == ["train.jsonl line 1", "train.jsonl line 3"]
    assert found.notices("train") == ["1 entries have no target; their masks are empty (first: train.jsonl line 3)"]


def test_a_json_list_is_read_like_lines(tmp_path: Path) -> None:
    write(tmp_path, entry(), entry("deep/b.png"), name="all.json", form="list")
    found = build(tmp_path, "all.json", ["all"])
    assert found.counts("all") == {"images": 2, "refs": 2, "sentences": 2}
    assert found.load("all", "a").meta["refs"][0]["entry"] == "all.json entry 0"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry(text="  "), "sentence 0: is empty"),
        (entry(text=17), "sentence 0 is int; expected str"),
        (entry(text="half \ud83d"), "half of a character"),
        (entry(sentence="twice"), "has 'sentence' and 'text'; say which one is meant"),
        (entry(polygon=[1, 2, 3, 4]), "at least 3 points"),
        (entry(polygon=[POLYGON, []]), "holds an empty list"),
        (entry(polygon=[[1, 2], [3, "x"], [5, 6]]), "finite numbers"),
        (entry(box=[1, 2, 3]), "expected 4 finite numbers"),
        (entry(box=[20, 20, 10, 10]), "no width or no height; read with units=pixels, box_form=xyxy"),
        (entry(box=[0.2, 0.2, 0.8, 0.9]), "are these fractions"),
        (entry(polygon=[100, 5, 900, 5, 900, 15]), "leaves the picture of 40 x 30 pixels"),
        (entry(polygon=[1, 1, 1, 1, 1, 1.2]), "covers no pixel"),
        (entry(rle={"size": [40, 30], "counts": [1200]}), r"the image is \[30, 40\]"),
        (entry(mask="absent.png"), "absent.png does not exist"),
        (entry(mask="../m.png"), "expected a path below the folder"),
        (entry(mask="images/a.png"), None),  # one value everywhere: all of the picture
        (entry(mask="smooth.png"), "holds the values 0, 128, 255; expected 0 and one other"),
        (entry(mask="small.png"), r"is \(5, 5\), its picture \(30, 40\)"),
        (entry(mask="red.png"), "is coloured"),
        (entry(mask="train.jsonl"), "cannot be read"),
        (entry(polygon=None), "says no target"),
        (entry(polygon=POLYGON, no_target=True), "they contradict"),
        (entry(polygon=[], no_target=False), "they contradict"),
        (entry(polygon=POLYGON, height=31, width=40) | {"height": "31"}, "'height' is str"),
    ],
)
def test_an_entry_that_cannot_be_used_costs_itself(tmp_path: Path, bad: dict, reason: str | None) -> None:
    write(tmp_path, bad, entry())
    smooth = MASK.astype(np.uint8) * 255
    smooth[5, 10] = 128
    Image.fromarray(smooth).save(tmp_path / "smooth.png")
    Image.new("L", (5, 5)).save(tmp_path / "small.png")
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / "red.png")
    example = build(tmp_path, splits=["train"], box_form="xyxy").load("train", "a")
    assert example.meta["refs"][-1]["entry"] == "train.jsonl line 2"
    assert len(example.left_out) == (reason is not None)
    for fault in example.left_out:
        assert fault.startswith("train.jsonl line 1")
        assert re.search(reason or "", fault)


def test_an_empty_sentence_costs_itself_and_an_rgba_mask_is_read_without_its_alpha(tmp_path: Path) -> None:
    write(tmp_path, entry(text=["", "the box"], mask="rgba.png"))
    grey = Image.fromarray(MASK.astype(np.uint8) * 255)
    Image.merge("RGBA", (grey, grey, grey, Image.new("L", grey.size, 255))).save(tmp_path / "rgba.png")
    example = build(tmp_path, splits=["train"]).load("train", "a")
    assert (example.sentences, example.left_out) == (("the box",), ("train.jsonl line 1, sentence 0: is empty",))
    assert area_px(example.meta["refs"][0]["rle"]) == MASK.sum()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"image": "a.png", "text": "cut', "line 2: is not valid JSON"),
        ("17", "line 2: is int; expected an object"),
        ({"text": "x", "polygon": []}, "line 2: names no picture; expected one of the keys image"),
        (entry(154), "the picture's name is int; expected str"),  # type: ignore[arg-type]
        (entry("/a.png"), "expected a path below the folder"),
    ],
)
def test_an_entry_without_a_picture_is_a_reject_of_its_own(tmp_path: Path, bad: Any, reason: str) -> None:
    found = source(tmp_path, entry(), bad)
    assert found.keys("train") == ["a", "no-picture-000000"]
    with pytest.raises(Reject, match=reason):
        found.load("train", "no-picture-000000")
    assert found.notices("train")[0].startswith("1 entries cannot be used (first: train.jsonl line 2")


def test_missing_damaged_and_differently_sized_pictures_are_rejects(tmp_path: Path) -> None:
    found = source(tmp_path, entry("gone.png"), entry(height=40, width=30, polygon=POLYGON))
    with pytest.raises(Reject, match=r"gone\.png does not exist"):
        found.load("train", "gone")
    with pytest.raises(Reject, match=r"is 30 x 40, its annotations say 40 x 30"):
        found.load("train", "a")


def test_two_pictures_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    found = source(tmp_path, entry(), entry("a.jpg"))
    assert found.keys("train") == ["a%2Ejpg", "a%2Epng"]


def test_ids_that_come_twice_and_boxes_are_counted(tmp_path: Path) -> None:
    boxed = entry(box=[10, 5, 20, 10])
    found = source(tmp_path, {**boxed, "id": 3}, {**boxed, "id": "3"}, box_form="xywh")
    assert found.notices("train") == [
        "2 entries point by a box; the filled box is their mask (first: train.jsonl line 1)",
        "1 entries have an id that came before; all are kept (first: train.jsonl line 2)",
    ]
    assert len(found.load("train", "a").meta["refs"]) == 2


def test_a_box_without_a_declared_form_is_refused_with_the_words_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 1: its target is the box .*source\.box_form=xywh"):
        source(tmp_path, entry(box=[1, 2, 3, 4])).keys("train")


def test_splits_by_file_say_which_pictures_they_share(tmp_path: Path) -> None:
    write(tmp_path, entry(), entry("deep/b.png"))
    write(tmp_path, entry(), name="val.jsonl")
    found = build(tmp_path)
    assert (found.keys("train"), found.keys("val")) == (["a", "deep%2Fb"], ["a"])
    assert found.notices("val") == ["1 pictures are in another split too (first: a.png, in train)"]


def test_splits_by_a_key_count_entries_of_other_splits(tmp_path: Path) -> None:
    entries = [{**entry(name), "set": split} for name, split in (("a.png", "x"), ("deep/b.png", "y"), ("a.png", "z"))]
    write(tmp_path, *entries, {**entry(), "set": 3}, name="all.jsonl")
    found = build(tmp_path, "all.jsonl", ["x", "y"], split_field="set")
    assert (found.keys("x"), found.keys("y")) == (["a"], ["deep%2Fb"])
    assert "entries are of the split 'z', which is none of splits=['x', 'y']" in found.notices("x")[0]
    assert "line 4: 'set' is int; expected str" in found.notices("x")[1]


def test_shares_depend_on_the_seed_and_keep_a_picture_together(tmp_path: Path) -> None:
    entries = [entry(f"{n}.png", text) for n in range(200) for text in ("one", "two")]
    write(tmp_path, *entries, name="all.jsonl")

    def keys(seed: int) -> tuple[set[str], set[str]]:
        found = build(tmp_path, "all.jsonl", ["train", "val"], shares=[0.8, 0.2], seed=seed)
        assert found.counts("train")["refs"] + found.counts("val")["refs"] == 400
        return set(found.keys("train")), set(found.keys("val"))

    first, again, other = keys(0), keys(0), keys(1)
    assert first == again != other
    assert not first[0] & first[1]
    assert 20 < len(first[1]) < 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refs": "all.jsonl"}, "nothing says which of"),
        ({"split_field": "set"}, "several rules say which of"),
        ({"refs": "all.jsonl", "shares": [0.5]}, "one above 0 for each"),
        ({"refs": "all.jsonl", "shares": [0.5, 0.6]}, r"add up to 1\.1"),
        ({"splits": ["train", "train"]}, "expected different names"),
        ({"box_form": "xyhw"}, "expected box_form xywh or xyxy"),
        ({"units": "percent"}, "units pixels, fraction, per_mille"),
        ({"fields": {"picture": "x"}}, "fields names 'picture'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_is_read(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build("/nowhere", **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b'{\n"image": 1\n}', "one JSON object over many lines"), (b"[1, 2", "not valid JSON")],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path, entry())
    (tmp_path / "train.jsonl").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        build(tmp_path, splits=["train"]).keys("train")


def test_the_identity_follows_entries_pictures_and_options_but_no_path(tmp_path: Path) -> None:
    def identity(folder: str, *entries: Any, **options: Any) -> str:
        return json.dumps(source(tmp_path / folder, *(entries or [entry()]), **options).identity("train"))

    first = identity("a")
    assert identity("b") == first
    assert str(tmp_path) not in first
    changed = [identity("c", entry(text="other")), identity("d", box_form="xywh"), identity("e", entry("deep/b.png"))]
    (tmp_path / "b" / "images" / "a.png").write_bytes(b"another size")
    changed.append(json.dumps(build(tmp_path / "b", splits=["train"]).identity("train")))
    assert len({first, *changed}) == 5
    copy = pickle.loads(pickle.dumps(build(tmp_path / "a", splits=["train"])))
    assert json.dumps(copy.identity("train")) == first


def test_a_configuration_gives_its_options_their_types(tmp_path: Path) -> None:
    write(tmp_path, entry(), name="all.jsonl")
    spec = {
        "name": "refer_file",
        "root": str(tmp_path),
        "refs": "all.jsonl",
        "splits": ["a", "b"],
        "shares": [0.5, 0.5],
    }
    found = plugins.build_plugin(plugins.SOURCES, {**spec, "fields": {"sentences": "text"}}, "source")
    assert sum(len(found.content.pictures[split]) for split in found.splits) == 1


@pytest.mark.parametrize(
    ("form", "areas"), [("polygon", (69540, 15823)), ("rle", (69540, 15823)), ("box", (146778, 38086))]
)
def test_the_real_samples_have_the_known_masks(realdata: Path, form: str, areas: tuple[int, int]) -> None:
    images = "../../refcoco/images/mscoco/images/train2014"
    folder = realdata / "own" / "refer_jsonl_composed"
    found = build(folder, f"{form}.jsonl", ["all"], images=images, box_form="xywh")
    assert found.counts("all") == {"images": 3, "refs": 12, "sentences": 12}
    refs = [ref for key in found.keys("all") for ref in found.load("all", key).meta["refs"]]
    drawn = [area_px(ref["rle"]) for ref in refs]
    assert drawn[:2] == list(areas)
    assert [place for place, area in enumerate(drawn) if area == 0] == [3, 7, 11]
