"""Trees of files: every folder below one, links followed as people use them, and no further.

Owns how far a walk goes. What the files are is for whoever walks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from shards.errors import SourceError

MOST_NAMES = 64  # of one folder, by links


def folders_below(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """(folder, names of its files) of a folder and all below it, in order of names. A link to a folder that it lies in
    is passed over: it holds what is being walked.

    Raises:
        SourceError: links to links to a folder give it more names than `MOST_NAMES`.
    """
    names_of: Counter[tuple[int, int]] = Counter()
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for at, folders, names in os.walk(folder, followlinks=True):
        found = os.stat(at)
        itself = (found.st_dev, found.st_ino)
        ancestors = above.pop(at, frozenset()) | {itself}
        names_of[itself] += 1
        if names_of[itself] > MOST_NAMES:
            raise SourceError(f"{at}: links give this folder more than {MOST_NAMES} names below {folder}; remove some")
        folders[:] = sorted(name for name in folders if _identity(f"{at}/{name}") not in ancestors)
        above |= {os.path.join(at, name): ancestors for name in folders}
        yield Path(at), sorted(names)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
