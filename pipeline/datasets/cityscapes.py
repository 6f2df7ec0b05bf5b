"""Cityscapes, as `pipeline.sources.cityscapes` reads it: the fine labels, and with form=coarse train_extra."""

from __future__ import annotations

from pipeline.sources.cityscapes import IMAGE_SUFFIX, IMAGES, PUBLISHED, CityscapesSource
from pipeline.stocktaking.facts import Archive, Dataset, Part

PAGE = "https://www.cityscapes-dataset.com/downloads/"
PICTURES, FINE = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
EXTRA, COARSE = "leftImg8bit_trainextra.zip", "gtCoarse.zip"


def describe() -> Dataset:
    card = CityscapesSource.card()
    return Dataset(
        title=card["title"],
        page=f"{PAGE}, after registration",
        terms=f"{card['licence']} {card['terms']}",
        keep=True,
        folder="cityscapes",
        builds=("cityscapes",),
        forms={
            "fine": (*_split("train", PICTURES, FINE, "gtFine"), *_split("val", PICTURES, FINE, "gtFine")),
            "coarse": _split("train_extra", EXTRA, COARSE, "gtCoarse"),
        },
        archives=(
            Archive(PICTURES, PAGE, "11 GB by that page"),
            Archive(FINE, PAGE, "241 MB by that page"),
            Archive(EXTRA, PAGE, "44 GB by that page"),
            Archive(COARSE, PAGE, "1.3 GB by that page"),
        ),
        notes=(
            "no mirror is named: the licence allows none",
            "*_labelTrainIds.png is in no archive: cityscapesScripts writes it, and only labels=labelTrainIds needs it",
        ),
    )


def _split(split: str, pictures: str, labels: str, folder: str) -> tuple[Part, ...]:
    total = PUBLISHED[split]
    return (
        Part(f"{IMAGES}/{split}/*/*{IMAGE_SUFFIX}", f"{split} pictures", total, archive=pictures),
        Part(f"{folder}/{split}/*/*_{folder}_labelIds.png", f"{split} labels", total, archive=labels),
    )
