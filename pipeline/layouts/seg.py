"""Pictures and labels of classes: which source reads them, and by which options.

Owns the order of what is tried: a COCO file, two folders with the same names, a layout of a tool that is not read,
names that are only alike.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.files.foreign import foreign_below, said
from pipeline.layouts.classes import class_file
from pipeline.layouts.coco import coco_file, coco_guess
from pipeline.layouts.folders import Places, folder, lists_beside, of_training, places_of, splits_of
from pipeline.layouts.guess import Guess, Option, options_of
from pipeline.layouts.labels import look_at
from pipeline.layouts.names import Names, files_in, names_in_one_folder, same_names, similar_names
from pipeline.layouts.sizes import size_of_pictures
from pipeline.layouts.values import meaning
from pipeline.sources.pairs.paired import IMAGE_SUFFIXES
from shards.errors import SourceError

SUFFIXES = (".png", ".npy", ".json", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")  # lossy ones are refused by name
HINTS = ("label", "mask", "seg", "gt", "annot", "_l.", "_l_", "lbl", "class")


def look(images: str, labels: str) -> Guess:
    """SourceError: the two do not fit, or hold what no source reads; says what was found."""
    pictures = folder(images, "images")
    answers = Path(os.path.expanduser(labels)).absolute()
    answers = answers if answers.is_file() else folder(labels, "labels")
    if path := coco_file(answers):
        if found := foreign_below(path):
            raise SourceError(said(*found))
        return coco_guess(pictures, path)
    places = places_of(pictures, answers)
    names = paired(places, SUFFIXES, HINTS)
    all_stems = stems_of(places, names)
    splits, ways = splits_of(places, all_stems, lists_beside(places.root, all_stems) if "" in places.folders else {})
    files = [place / name for place, name in labels_of(places, names)]
    form = _form(places, names) if _is_colour(files) else ""
    held = look_at(files, form)
    options, classes, notes = meaning(held, class_file(places.root, *places.all_labels))
    found = options_of(
        {
            "images": Option(places.images, "pictures"),
            "labels": Option(places.labels, f"{len(files)} pairs; {held.said()}"),
        },
        named(names, "label"),
        ways,
        options,
    )
    first = places.folders.get(splits.train, next(iter(places.folders.values())))
    size_px = size_of_pictures(first[0], names)
    count = of_training(all_stems, splits, ways, places.root)
    if "" not in places.folders:
        count = len(stems_of_split(places, names, splits.train))
    return Guess("image_folders", places.root, found, splits, count, size_px, (*notes, *held.rejects[:1]), classes)


def paired(places: Places, suffixes: tuple[str, ...], hints: tuple[str, ...]) -> Names:
    """What is common to the names of the first split. SourceError: nothing, and what the folders hold instead."""
    images, labels = next(iter(places.folders.values()))
    if images == labels:
        files = files_in(images)
        others = [name for name in files if not name.lower().endswith(IMAGE_SUFFIXES)]
        found = names_in_one_folder(files, suffixes, hints) or similar_names(files, others, suffixes)
    else:
        ours, theirs = files_in(images), files_in(labels)
        found = same_names(ours, theirs, suffixes)
        if found is None and (foreign := foreign_below(labels, images)):
            raise SourceError(said(*foreign))
        found = found or similar_names(ours, theirs, suffixes)
    if found is None:
        if foreign := foreign_below(labels, images):
            raise SourceError(said(*foreign))
        shown = [
            f"{path} holds {', '.join(sorted(os.listdir(path))[:5]) or 'nothing'}"
            for path in dict.fromkeys((images, labels))
        ]
        if not any(name.lower().endswith(IMAGE_SUFFIXES) for name in files_in(images)):
            shown.append(f"there is no picture ({', '.join(IMAGE_SUFFIXES)}) below images={images}")
        raise SourceError(
            f"no picture has a partner by its name: {'; '.join(shown)}. Partners end in {', '.join(suffixes)}; where "
            "names say nothing, write a list of two paths a line and declare lists: {train: FILE}"
        )
    return found


def named(names: Names, partner: str) -> dict[str, Option]:
    """The options of names that differ from the usual ones."""
    given = {
        "image_prefix": names.image_prefix,
        "image_suffix": names.image_suffix,
        f"{partner}_prefix": names.label_prefix,
        f"{partner}_suffix": names.label_suffix if names.label_suffix != ".png" else "",
    }
    why = f"{len(names.stems)} names pair up so"
    return {name: Option(value, why) for name, value in given.items() if value}


def stems_of_split(places: Places, names: Names, split: str) -> list[str]:
    """The common parts of the names of a split's pictures and labels."""
    images, labels = places.folders[split]
    return [
        stem
        for stem in _candidates(places, names, split)
        if (labels / names.label_of(stem)).is_file()
        and any((images / name).is_file() for name in names.images_of(stem))
    ]


def stems_of(places: Places, names: Names) -> list[str]:
    """Those of all splits."""
    return [stem for split in places.folders for stem in stems_of_split(places, names, split)]


def labels_of(places: Places, names: Names) -> list[tuple[Path, str]]:
    """(folder, name) of all labels that have a picture."""
    return [
        (places.folders[split][1], names.label_of(stem))
        for split in places.folders
        for stem in stems_of_split(places, names, split)
    ]


def _candidates(places: Places, names: Names, split: str) -> tuple[str, ...]:
    if split == next(iter(places.folders)):
        return names.stems
    ends = names.label_suffix.lower()
    found = []
    for name in files_in(places.folders[split][1]):
        head, _, file = name.rpartition("/")
        if file.startswith(names.label_prefix) and file.lower().endswith(ends):
            stem = file[len(names.label_prefix) : len(file) - len(ends)]
            found.append(f"{head}/{stem}" if head else stem)
    return tuple(found)


def _form(places: Places, names: Names) -> str:
    """The codings in colours that names of files and folders tell."""
    if names.label_suffix == "_seg.png":
        return "ade20k_full"
    return "red" if "2ch" in places.labels else ""


def _is_colour(files: list[Path]) -> bool:
    return bool(files) and look_at(files[:1]).form == "colour"
