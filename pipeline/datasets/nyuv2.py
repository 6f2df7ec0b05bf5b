"""NYUv2 in the two forms that `pipeline.sources.nyuv2` reads: folders, as BTS made them, and the labelled file."""

from __future__ import annotations

from pipeline.sources import nyuv2
from pipeline.sources.nyuv2.folders import FOLDERS, LISTS
from pipeline.sources.nyuv2.mat import MAT_FILE, SPLITS_FILE
from pipeline.sources.nyuv2.source import PUBLISHED
from pipeline.stocktaking.facts import Archive, Dataset, Mirror, Part, by_list

SYNC, LIST_FILES, EXTRACTED = "sync.zip", "lists", "official test split"
MAT_BYTES = 2_972_037_809


def describe() -> Dataset:
    card, folders = nyuv2.build("").card(), []
    for split, archive in (("train", SYNC), ("test", EXTRACTED)):
        total, place, file = PUBLISHED["folders"][split], FOLDERS[split], LISTS[split]
        pictures = Part(f"{place}/*/rgb_*.jpg", f"{split} pictures", total, 0, archive, by_list(file, place, 0))
        depth = Part(f"{place}/*/sync_depth_*.png", f"{split} depth", total, 0, archive, by_list(file, place, 1))
        folders += [Part(file, f"list of the {split} split", archive=LIST_FILES), pictures, depth]
    return Dataset(
        title="NYU Depth V2",
        page="https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
        terms=f"{card['licence']} {card['terms']}",
        keep=True,
        folder="nyuv2",
        builds=("nyuv2", "nyuv2_meta_prompts", "nyuv2_ecodepth"),
        forms={
            "folders": tuple(folders),
            "mat": (
                Part(MAT_FILE, "the 1,449 labelled frames", size_bytes=MAT_BYTES, archive=MAT_FILE),
                Part(SPLITS_FILE, "which of them are train and test", archive=SPLITS_FILE),
            ),
        },
        archives=(
            Archive(
                MAT_FILE,
                "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",
                f"{MAT_BYTES:,} bytes",
            ),
            Archive(SPLITS_FILE, "https://github.com/wl-zhao/VPD or https://github.com/cleinc/bts (utils)"),
            Archive(SYNC, "https://github.com/cleinc/bts, which names a Google Drive file"),
            Archive(
                LIST_FILES, "https://github.com/wl-zhao/VPD (depth/dataset/filenames/nyudepthv2)", "two text files"
            ),
            Archive(
                EXTRACTED,
                f"diffusion-perception extract root=FOLDER, which makes it of {MAT_FILE} and {SPLITS_FILE} (form=mat)",
                "654 pairs",
            ),
        ),
        mirrors=(
            Mirror(
                "https://github.com/zhyever/Monocular-Depth-Estimation-Toolbox/issues/105",
                "a comment has a Google Drive link to the sync folders, uploaded again",
                "2025-07",
            ),
            Mirror("https://huggingface.co/datasets/aradhye/nyu_depth_v2", "BTS's layout, by the authors of ECoDepth"),
            Mirror(
                "https://huggingface.co/datasets/sayakpaul/nyu_depth_v2",
                "35 GB of rows with depth in metres, for the source hf_dataset: not this layout",
            ),
        ),
        notes=(
            "horatio.cs.nyu.edu was reported to refuse in 2023-12 and 2025-02",
            "BTS's download scripts are reported to hang: open the Google Drive link in a browser (cleinc/bts#65, #66)",
            "a copy that renames folders loses the scene, and with it the class of a room that VPD's prompts use",
        ),
    )
