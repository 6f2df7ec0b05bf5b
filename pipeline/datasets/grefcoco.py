"""gRefCOCO, as configs/build/grefcoco.yaml has `pipeline.sources.refer_folder` read it."""

from __future__ import annotations

from pipeline.datasets.refcoco import PICTURES, TRAIN2014
from pipeline.stocktaking.facts import Archive, Dataset, Mirror, Part, by_instances

REFS, INSTANCES, IMAGES = "grefs(unc).json", "instances.json", "images/train2014"
FILES = "gRefCOCO"


def describe() -> Dataset:
    named = by_instances(INSTANCES, IMAGES)
    return Dataset(
        title="gRefCOCO (unc splits): sentences that mean one object, several or none",
        page="https://github.com/henghuiding/gRefCOCO (text, masks), https://cocodataset.org/#download (photographs)",
        terms="Text: as its page says; not recorded here. COCO annotations: CC BY 4.0. Photographs: each under its "
        "Flickr licence, many of them non-commercial or without derivatives.",
        folder="grefcoco",
        builds=("grefcoco",),
        forms={
            "unc": (
                Part(REFS, "sentences, and what they refer to", archive=FILES),
                Part(INSTANCES, "masks", archive=FILES),
                Part(f"{IMAGES}/*.jpg", "photographs", PICTURES["refcoco"], archive=TRAIN2014.name, named=named),
            )
        },
        archives=(
            Archive(FILES, "https://github.com/henghuiding/gRefCOCO, which names OneDrive and Google Drive"),
            TRAIN2014,
        ),
        mirrors=(Mirror("https://huggingface.co/datasets/FudanCVL/gRefCOCO", "files"),),
        notes=("the first release had the training and validation splits only: testA and testB need a later one",),
    )
