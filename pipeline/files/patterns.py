"""Where a pattern of files begins: the folder that is searched, and what is matched below it.

Owns one rule: what is there by that very name is meant, so `shots [2020]/*.jpg` searches the folder `shots [2020]`.
"""

from __future__ import annotations

import glob
from pathlib import Path

SIGNS = frozenset("*?[")  # of a pattern


def folder_and_pattern(base: Path, text: str | Path) -> tuple[Path, str]:
    """The folder below `base` that `text` names before its first sign, and the pattern of the rest.

    The pattern is empty where `text` names a path without signs, or a folder that is there; a file that is there by
    that name is a pattern of itself.
    """
    at, parts = base, Path(text).parts
    for place, part in enumerate(parts):
        if SIGNS & set(part) and not (at / part).is_dir():
            last = place == len(parts) - 1
            return at, glob.escape(part) if last and (at / part).is_file() else "/".join(parts[place:])
        at = at / part
    return at, ""
