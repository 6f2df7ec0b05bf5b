"""KITTI depth, the Eigen split by Meta Prompts' lists, as `pipeline.sources.kitti` reads it."""

from __future__ import annotations

from pipeline.sources import kitti
from pipeline.stocktaking.facts import Archive, Dataset, Mirror, Part, by_list

PAGE = "https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_prediction"
RAW, DEPTH, LISTS = "raw data of the drives", "data_depth_annotated.zip", "eigen_benchmark"
IMAGES = "raw_data/*/*_sync/image_02/data/*.png"
DEPTHS = "data_depth_annotated/*/*_sync/proj_depth/groundtruth/image_02/*.png"


def describe() -> Dataset:
    source = kitti.build("")
    card, parts = source.card(), []
    for split, file in source.lists.items():
        total = kitti.PUBLISHED[split]
        parts += [
            Part(file, f"list of the {split} split", archive=LISTS),
            Part(IMAGES, f"{split} pictures", total, archive=RAW, named=by_list(file, "", 0)),
            Part(DEPTHS, f"{split} depth", total, archive=DEPTH, named=by_list(file, "", 1)),
        ]
    return Dataset(
        title=card["title"],
        page=PAGE,
        terms=f"{card['licence']}. {card['terms']}",
        keep=True,
        folder="kitti",
        builds=("kitti", "kitti_ecodepth"),
        forms={"meta_prompts": tuple(parts)},
        archives=(
            Archive(
                RAW,
                "https://www.cvlibs.net/datasets/kitti/raw_data.php",
                "some 175 GB for all synchronised drives; of each only image_02 is read",
            ),
            Archive(
                DEPTH, "https://s3.eu-central-1.amazonaws.com/avg-kitti/data_depth_annotated.zip", "14 GB by the page"
            ),
            Archive(LISTS, "https://github.com/fudan-zvg/meta-prompts (depth/dataset/filenames)", "two text files"),
        ),
        mirrors=(Mirror("https://github.com/cleinc/bts", "lists only, in another form: see the source's options"),),
        notes=(
            "BTS's lists start lower down, and are not what is looked for here: pipeline/sources/kitti.py says how",
        ),
    )
