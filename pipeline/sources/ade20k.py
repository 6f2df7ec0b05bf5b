"""ADE20K for scene parsing: the ADEChallengeData2016 release, 150 classes.

Origin       SceneParse150 challenge (Zhou et al. 2017), ADEChallengeData2016.zip
Layout       <root>/images/{training,validation}/ADE_{train,val}_%08d.jpg
             <root>/annotations/{training,validation}/<same>.png
             <root>/objectInfo150.txt  and  <root>/sceneCategories.txt
Record       one picture; key = its file name without suffix; meta["scene"] = its scene category
Labels       8-bit PNG as large as the picture: 0 = other (ignored), k = row k of objectInfo150.txt, stored as k - 1
Licence      see `card`; facts in docs/methods/data_layouts.md#ade20k

Owns the layout and its two tables. Leaves pairs, labels and rejects to `pairs.labels`, which a user's own data shares.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pipeline.example import Example
from pipeline.files.label_png import counted, read_label
from pipeline.sources.pairs.labels import LabelPairs
from pipeline.sources.pairs.matching import Folders
from shards.errors import SourceError

OBJECTS, SCENES = "objectInfo150.txt", "sceneCategories.txt"
PUBLISHED = {"training": 20_210, "validation": 2_000}  # pictures


def build(root: str | Path) -> Ade20kSource:
    """The source.

    Args:
        root: folder ADEChallengeData2016, with images/, annotations/ and objectInfo150.txt.

    Raises:
        SourceError: no class table there, or one that cannot be read.
    """
    return Ade20kSource(Path(root))


def read_objects(path: Path) -> tuple[tuple[str, ...], ...]:
    """Synonyms of every class, in the order of the label values, from objectInfo150.txt.

    Columns are found by the names `Idx` and `Name` in the header, because the two circulating copies differ in them
    (one has `Stuff`); tabs and commas are both understood, and names are stripped of stray spaces.

    Raises:
        SourceError: no such file, no such columns, or indices that do not count up from 1.
    """
    text = _read_text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    rows = list(csv.DictReader(lines, delimiter=delimiter))
    header = list(rows[0]) if rows else lines[:1]
    if not {"Idx", "Name"} <= set(header):
        raise SourceError(f"{path}: its header is {header}; expected the columns Idx and Name, tab or comma separated")
    found = [(row["Idx"] or "").strip() for row in rows]
    if found != [str(number) for number in range(1, len(rows) + 1)]:
        first = next(place for place, index in enumerate(found) if index != str(place + 1))
        raise SourceError(f"{path}: row {first + 1} has Idx {found[first]!r}; expected 1, 2, 3, ... in order")
    synonyms = tuple(tuple(name.strip() for name in (row["Name"] or "").split(",") if name.strip()) for row in rows)
    if nameless := [place + 1 for place, names in enumerate(synonyms) if not names]:
        raise SourceError(f"{path}: row {nameless[0]} has no name")
    return synonyms


def read_scenes(path: Path) -> dict[str, str]:
    """Scene category of every picture, by file name without suffix. SourceError: a line of another form."""
    scenes: dict[str, str] = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        name, _, scene = line.strip().partition(" ")
        if not scene.strip():
            raise SourceError(f"{path}, line {number}: {line!r}; expected a picture's name, a space and its category")
        scenes[name] = scene.strip()
    return scenes


class Ade20kSource(LabelPairs):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its folder and lists the files again."""

    name = "ade20k"

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / OBJECTS).is_file():
            raise SourceError(_not_here(root))
        self.synonyms = read_objects(root / OBJECTS)
        folders = {split: Folders(root / "images" / split, root / "annotations" / split) for split in PUBLISHED}
        classes = tuple(names[0] for names in self.synonyms)
        class_of = counted(len(classes), zero_is_ignored=True)
        super().__init__(folders, classes, partial(read_label, class_of=class_of))

    def load(self, split: str, key: str) -> Example:
        """As `LabelPairs.load`, with the scene category ("" where the table has none for this picture)."""
        example = super().load(split, key)
        return replace(example, meta={**example.meta, "scene": self.scenes.get(key, "")})

    @cached_property
    def scenes(self) -> dict[str, str]:
        """Scene category by key. A tree without sceneCategories.txt is complete but for that."""
        path = self.root / SCENES
        return read_scenes(path) if path.is_file() else {}

    def identity(self, split: str) -> dict[str, Any]:
        """Hashes of both tables, and of the names and sizes of all files of the split."""
        tables = {
            name: hashlib.sha256((self.root / name).read_bytes()).hexdigest()
            for name in (OBJECTS, SCENES)
            if (self.root / name).is_file()
        }
        return {"name": self.name, "split": split, **self.files(split), "sha256": tables}

    @staticmethod
    def card() -> dict[str, Any]:
        return {
            "title": "ADE20K scene parsing (ADEChallengeData2016)",
            "origin": "SceneParse150 challenge, MIT CSAIL Computer Vision Group; photographs with full annotation.",
            "licence": "Annotations and code: BSD 3-Clause. Photographs: not owned by the authors; non-commercial "
            "research and education only.",
            "terms": "By the dataset's terms of use, pictures may be used for non-commercial research and education "
            "and not be passed on; latents are made from them and fall under the same terms.",
            "url": "http://sceneparsing.csail.mit.edu/",
            "splits": {split: {"images": count} for split, count in PUBLISHED.items()},
        }


def _not_here(root: Path) -> str:
    below = root / "ADEChallengeData2016"
    if (below / OBJECTS).is_file():
        return f"{root}: {OBJECTS} is one folder further down; pass {below}"
    found = sorted(entry.name for entry in root.iterdir())[:8] if root.is_dir() else []
    return (
        f"{root}: is not an ADEChallengeData2016 folder: {OBJECTS} is missing. Found: {', '.join(found) or 'nothing'}. "
        f"Expected images/, annotations/, {OBJECTS} and {SCENES}, as the zip unpacks; for data of your own use the "
        "source image_folders"
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as text: {error}") from error
