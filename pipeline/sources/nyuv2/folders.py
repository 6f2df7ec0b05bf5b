"""Where the folder form of NYUv2 lies, which depth training uses: JPEG and 16-bit PNG pairs named by a list file.

Owns the official places and the key of a pair. Lists, in either published format, and pairs are read by `pairs.depths`;
their paths are relative to `nyu_depth_v2/sync` for train and to `nyu_depth_v2/official_splits/test` for test.
"""

from __future__ import annotations

from pathlib import PurePosixPath

FOLDERS = {"train": "nyu_depth_v2/sync", "test": "nyu_depth_v2/official_splits/test"}
LISTS = {"train": "filenames/nyudepthv2/train_list.txt", "test": "filenames/nyudepthv2/test_list.txt"}
LISTS_ADVICE = (
    "VPD ships it as dataset/filenames/nyudepthv2, BTS as train_test_inputs; name another place with train_list and "
    "test_list"
)
UNIT = "millimetres"


def key_of(image: PurePosixPath) -> str:
    """kitchen/rgb_00045.jpg -> kitchen-rgb_00045"""
    return "-".join(image.with_suffix("").parts)
