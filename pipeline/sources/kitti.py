"""KITTI depth, the Eigen split: streets from a car, with the depth of a laser scanner of the depth benchmark.

Origin       Geiger et al., CVPR 2012 (pictures); Uhrig et al., 3DV 2017 (depth); Eigen et al., NIPS 2014 (split)
Layout       <root>/raw_data/<date>/<drive>_sync/image_02/data/*.png
             <root>/data_depth_annotated/{train,val}/<drive>_sync/proj_depth/groundtruth/image_02/*.png
Lists        <root>/filenames/eigen_benchmark/{train,test}_list.txt of Meta Prompts, whose two columns are relative to
             <root>; those of BTS, with paths from the date and from the drive on, need
             images=raw_data depths=[data_depth_annotated/train, data_depth_annotated/val]
Record       one picture of the left colour camera; key = <drive>_sync-image_02-<frame>
Label        depth: uint16 PNG bit for bit, metres = value / 256, 0 = no measurement (about four fifths of a picture)
Licence      see `card`; facts in docs/methods/data_layouts.md#kitti and docs/methods/depth.md#kitti

Owns the layout, keys and facts. Leaves lists, pairs and rejects to `pairs.depths`. Pictures differ in size (370 to 376
rows, 1224 to 1242 columns); training and scores look at 352 x 1216 of them, which is the views' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from pipeline.example import Example
from pipeline.reopened import Reopened
from pipeline.sources.pairs.depths import Pair, PairList, load_pair, read_list
from shards.contract.schema import Field
from shards.errors import SourceError
from shards.storage.atomic import sha256_file

PUBLISHED = {"train": 23_158, "test": 652}
NO_CLASS = -1  # scenes have no class: the depth task's word for it
NO_DEPTH = "None"  # of BTS's lists: 45 of the 697 pictures of the original test split have no ground truth
UNIT = "1/256 metres"
_ADVICE = (
    "Meta Prompts ships it as dataset/filenames/eigen_benchmark, BTS as train_test_inputs; name another place with "
    "train_list and test_list"
)


def build(
    root: str | Path,
    train_list: str = "filenames/eigen_benchmark/train_list.txt",
    test_list: str = "filenames/eigen_benchmark/test_list.txt",
    images: str = "",
    depths: str | Sequence[str] = "",
) -> KittiSource:
    """The source; nothing is read before the first call of a method.

    Args:
        root: the folder that everything below is relative to.
        train_list, test_list: list files, in either published format.
        images: folder that the image column is relative to; "" is the root.
        depths: folder, or folders, that the depth column is relative to: the first one that has the file.
    """
    lists = {"train": train_list, "test": test_list}
    return KittiSource(Path(root), lists, images, (depths,) if isinstance(depths, str) else tuple(depths))


class KittiSource(Reopened):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and reads the lists again."""

    name = "kitti"
    item_axis = "view"
    splits = tuple(PUBLISHED)
    label_fields = (Field("depth", "png", unit=f"uint16, {UNIT}, 0 = no measurement"),)

    def __init__(self, root: Path, lists: Mapping[str, str], images: str, depths: Sequence[str]) -> None:
        self.root, self.lists = root, dict(lists)
        self.images, self.depths = root / images, [root / folder for folder in depths]
        self._given = images, tuple(depths)
        self._lock = Lock()
        self._read: dict[str, PairList] = {}

    def keys(self, split: str) -> list[str]:
        """In the order of the list, without the pictures that have no ground truth."""
        return list(self._list(split).pairs)

    def load(self, split: str, key: str) -> Example:
        """Reject: picture or depth is missing, damaged, of different sizes or without any measurement."""
        pairs = self._list(split).pairs
        if key not in pairs:
            raise SourceError(f"{self.root}: split {split} has no image {key!r}; keys look like {next(iter(pairs))}")
        pair = pairs[key]
        depth_path = self._depth_path(pair)
        where = f"{self.lists[split]} line {pair.line}"
        picture, depth_png = load_pair(self.images / pair.image, depth_path, where, UNIT)
        meta: dict[str, Any] = {
            "file_name": pair.image.as_posix(),
            "depth_name": pair.depth.as_posix(),
            "height": picture.height,
            "width": picture.width,
            "class_id": NO_CLASS,
        }
        if pair.focal_px is not None:
            meta["focal_px"] = pair.focal_px
        return Example(key, picture, meta, labels={"depth": depth_png})

    def files_of(self, split: str, key: str) -> dict[str, Path]:
        """Picture and depth map."""
        pair = self._list(split).pairs[key]
        return {pair.image.as_posix(): self.images / pair.image, pair.depth.as_posix(): self._depth_path(pair)}

    def identity(self, split: str) -> dict[str, Any]:
        """Hash of the list, and what its columns are relative to, where that is not the root."""
        self._list(split)
        images, depths = self._given
        # Options that were not there before stand in an identity only where they say something.
        folders: dict[str, Any] = {"images": self._below(images)} if images else {}
        folders |= {"depths": [self._below(folder) for folder in depths]} if any(depths) else {}
        said = {"name": self.name, "split": split, **folders}
        return {**said, "sha256": {"list": sha256_file(self.root / self.lists[split])}}

    def counts(self, split: str) -> dict[str, int]:
        """`images` with ground truth; `without_depth`, lines of the list that name none and have no record."""
        found = self._list(split)
        return {"images": len(found.pairs), "without_depth": found.without_depth}

    def card(self) -> dict[str, Any]:
        return {
            "title": "KITTI depth (Eigen split, ground truth of the depth benchmark)",
            "origin": "Geiger, Lenz, Urtasun: Are we ready for autonomous driving? CVPR 2012; depth from Uhrig et al.: "
            "Sparsity invariant CNNs, 3DV 2017; split from Eigen, Puhrsch, Fergus, NIPS 2014.",
            "licence": "CC BY-NC-SA 3.0",
            "terms": "Non-commercial use; name the authors, and pass on only under the same licence. Latents are made "
            "from the pictures and fall under it too.",
            "url": "https://www.cvlibs.net/datasets/kitti/eval_depth.php?benchmark=depth_prediction",
            "splits": {split: {"images": count} for split, count in PUBLISHED.items()},
        }

    def _below(self, folder: str) -> str:
        """A folder as it is named from the root; of one elsewhere its name, since no place belongs to an identity."""
        path = Path(folder)
        if not path.is_absolute():
            return folder
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name

    def _depth_path(self, pair: Pair) -> Path:
        """The first folder that has the file, or where it is missed."""
        candidates = [folder / pair.depth for folder in self.depths]
        return next((path for path in candidates if path.exists()), candidates[0])

    def _list(self, split: str) -> PairList:
        if split not in self.splits:
            raise SourceError(f"KITTI has no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._read:
                path = self.root / self.lists[split]
                self._check_root(path)
                self._read[split] = read_list(path, key_of, _ADVICE, NO_DEPTH)
            return self._read[split]

    def _check_root(self, list_path: Path) -> None:
        missing = [str(path) for path in (self.images, *self.depths, list_path) if not path.exists()]
        if not missing:
            return
        found = (
            sorted(path.name + "/" * path.is_dir() for path in self.root.iterdir())[:8] if self.root.is_dir() else []
        )
        raise SourceError(
            f"{self.root}: is not a KITTI folder as the options describe it; missing {', '.join(missing)}. Found: "
            f"{', '.join(found) or 'nothing'}. Put them there, or set images and depths to the folders that the list's "
            "columns are relative to, train_list and test_list to the lists"
        )


def key_of(image: PurePosixPath) -> str:
    """.../2011_09_26_drive_0001_sync/image_02/data/0000000005.png -> 2011_09_26_drive_0001_sync-image_02-0000000005"""
    return "-".join(part for part in image.with_suffix("").parts[-4:] if part != "data")
