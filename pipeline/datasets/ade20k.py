"""ADE20K for scene parsing, as `pipeline.sources.ade20k` reads it."""

from __future__ import annotations

from pipeline.sources.ade20k import OBJECTS, PUBLISHED, SCENES, Ade20kSource
from pipeline.stocktaking.facts import Archive, Dataset, Mirror, Part, counted

ZIP = "ADEChallengeData2016.zip"
SHORT = {"training": "train", "validation": "val"}  # of a split, in file names


def describe() -> Dataset:
    card = Ade20kSource.card()
    parts = [
        Part(OBJECTS, "names of the 150 classes", archive=ZIP),
        Part(SCENES, "scene category of every picture", archive=ZIP, without="records then have no scene"),
    ]
    for split, total in PUBLISHED.items():
        for folder, suffix, what in (("images", "jpg", "pictures"), ("annotations", "png", "labels")):
            name = f"{folder}/{split}/ADE_{SHORT[split]}_%08d.{suffix}"
            path = f"{folder}/{split}/*.{suffix}"
            parts.append(Part(path, f"{split} {what}", total, archive=ZIP, named=counted(name, total)))
    return Dataset(
        title=card["title"],
        page="https://ade20k.csail.mit.edu (terms, registration); the challenge: http://sceneparsing.csail.mit.edu/",
        terms=f"{card['licence']} {card['terms']}",
        keep=True,
        folder="ADEChallengeData2016",
        builds=("ade20k",),
        forms={"folders": tuple(parts)},
        archives=(
            Archive(
                ZIP,
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                digest="sha1 219e1696abb36c8ba3a3afe7fb2f4b4606a897c7, as GluonCV records it",
            ),
        ),
        mirrors=(
            Mirror("https://huggingface.co/datasets/zhoubolei/scene_parse_150", "rows, for the source hf_dataset"),
        ),
        notes=(
            "registration was broken from April to June 2026; the archive could be fetched (CSAILVision/ADE20K#56)",
            "the full ADE20K, with 3,688 classes, is another dataset in another layout",
        ),
    )
