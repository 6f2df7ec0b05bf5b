"""RefCOCO, as `pipeline.sources.refcoco` reads it; with what RefCOCO+ and RefCOCOg share with it."""

from __future__ import annotations

from pipeline.sources.refcoco import RefcocoSource, build
from pipeline.sources.refcoco.source import IMAGES, PUBLISHED
from pipeline.stocktaking.facts import Archive, Dataset, Mirror, Part, by_instances

TRAIN2014 = Archive(
    "train2014.zip",
    "http://images.cocodataset.org/zips/train2014.zip",
    "13,510,573,713 bytes",
    "sha256 ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775, as TensorFlow Datasets records it",
)
PICTURES = {"refcoco": 19_994, "refcoco+": 19_992, "refcocog": 25_799}  # of all splits


def describe() -> Dataset:
    return family(
        "refcoco",
        "unc",
        "20220413011718",
        "53,993,993 bytes",
        "7f924bb7ed8dc4568058e4ff626281918d56e5206f4c868c5a80f088f38c8bf0",
    )


def family(dataset: str, split_by: str, snapshot: str, size: str, sha256: str) -> Dataset:
    """A dataset of the family.

    Args:
        split_by: the splits of the shipped configuration; others are forms of their own.
        snapshot: time of the Internet Archive's copy of its archive.
    """
    source: RefcocoSource = build("", dataset, split_by)
    card, file = source.card(), f"{dataset}.zip"
    others = sorted(by for name, by in PUBLISHED if name == dataset and by != split_by)
    url = f"https://bvisionweb1.cs.unc.edu/licheng/referit/data/{file}"
    copy = f"https://web.archive.org/web/{snapshot}id_/{url}"
    return Dataset(
        title=card["title"],
        page=f"{card['url']} (text and splits), https://cocodataset.org/#download (photographs)",
        terms=f"{card['licence']} {card['terms']}",
        folder="refer",
        builds=(dataset.replace("+", "_plus"),),
        forms={by: _parts(dataset, by, file) for by in (split_by, *others)},
        archives=(
            TRAIN2014,
            Archive(file, f"{url}, gone since 2022-09", size, f"sha256 {sha256}, as public code records it"),
        ),
        mirrors=(
            Mirror(copy, "the Internet Archive's copy: its `id_` gives the file's own bytes", "2025-12"),
            *(
                [Mirror("https://www.kaggle.com/datasets/lhhhhl/refcoco-and-refcoco", "files")]
                * (dataset != "refcocog")
            ),
        ),
        notes=(
            "the publisher's host is gone (lichengunc/refer#14), and copies are what is left (#26)",
            "photographs are COCO's train2014 alone; those of 2017 have other names",
            "refs(*).p is a pickle; it is read here without running anything in it",
        ),
    )


def _parts(dataset: str, split_by: str, archive: str) -> tuple[Part, ...]:
    instances = f"{dataset}/instances.json"
    named = by_instances(instances, IMAGES)
    return (
        Part(f"{dataset}/refs({split_by}).p", "sentences, and what they refer to", archive=archive),
        Part(instances, "masks", archive=archive),
        Part(f"{IMAGES}/*.jpg", "photographs", PICTURES[dataset], archive=TRAIN2014.name, named=named),
    )
