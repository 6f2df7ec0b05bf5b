"""Class lists that lie beside somebody's labels: found by their names, read by the one reader of class lists."""

from __future__ import annotations

from pathlib import Path

from pipeline.files.class_list import ClassList, read_class_list
from shards.errors import SourceError

_FILES = (
    "classes.txt",
    "class_names.txt",
    "label_names.txt",
    "labels.txt",
    "labelmap.txt",
    "label_colors.txt",
    "class_dict.csv",
    "classes.csv",
    "labelmap.csv",
    "_classes.csv",
    "classes.json",
    "dataset_meta.json",
)


def class_file(root: Path, *folders: Path) -> tuple[str, ClassList] | None:
    """(path for the option `classes`, what it holds) of the first class list in the root, in the folders or above them;
    files of such a name that are none are passed over."""
    places = dict.fromkeys([root, *(place for folder in folders for place in (folder, folder.parent))])
    for place in places:
        for name in _FILES:
            path = place / name
            if not path.is_file():
                continue
            try:
                found = read_class_list(path)
            except SourceError:
                continue
            if found.names:
                below = path.is_relative_to(root)
                return (path.relative_to(root).as_posix() if below else str(path)), found
    return None
