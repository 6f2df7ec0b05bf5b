"""Pictures and sentences: which source reads them, `refer_file` or `refer_folder`, and by which options.

Owns what entries can tell: the keys they have, where their splits are, and of boxes the form and the unit where the
pictures leave only one. What they leave open is refused with the words to type.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.files.entries import read_bytes
from pipeline.files.foreign import of_json, said
from pipeline.layouts.boxes import coordinates_of
from pipeline.layouts.folders import VAL_SHARE, chosen, folder, twins
from pipeline.layouts.guess import Guess, Option, Splits, options_of
from pipeline.layouts.sizes import middle, size_of
from pipeline.sources.refer_file.entries import NAMES, TARGETS, entries_of, names_of
from pipeline.sources.refer_folder.refs import records_of
from pipeline.sources.refs.splits import Splitting
from shards.errors import ConfigError, SourceError
from shards.geometry.view import Size

_SPLIT_KEYS = ("split", "subset", "set", "partition")
_FORMS = (".jsonl", ".json", ".p", ".pkl", ".pickle")
_INSTANCES = "instances.json"
_PICTURES = 200  # whose sizes are read
_SEEDS = 50  # that are tried until both splits have a picture


def look(images: str, labels: str, given: Mapping[str, Any]) -> Guess:
    """SourceError: no file of sentences, or one that is not read; says what was found. `given` are options that were
    said."""
    pictures = folder(images, "images")
    path = _sentences(Path(os.path.expanduser(labels)).absolute())
    if path.suffix.lower() in (".p", ".pkl", ".pickle"):
        return _of_folder(pictures, path)
    entries = [entry for _, entry in entries_of(read_bytes(path), path) if isinstance(entry, dict)]
    if entries and {"ref_id", "ann_id"} <= entries[0].keys():
        return _of_folder(pictures, path)
    return _of_file(pictures, path, entries, given)


def _sentences(path: Path) -> Path:
    """The file that `labels` names, or the one of training in the folder."""
    if path.is_file():
        return path
    found = [entry for entry in sorted(folder(path, "labels").iterdir()) if entry.suffix.lower() in _FORMS]
    files = [entry for entry in found if entry.name != _INSTANCES]
    if not files:
        raise SourceError(f"labels={path}: holds no file of sentences, {' or '.join(_FORMS[:2])}; name it: labels=FILE")
    return min(files, key=lambda entry: ("train" not in entry.stem.lower(), entry.name))


def _of_file(images: Path, path: Path, entries: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> Guess:
    if foreign := of_json(entries):
        raise SourceError(said(foreign, path))
    if not entries:
        raise SourceError(f"{path}: holds no entry that is an object with picture, sentences and target")
    fields = given.get("fields", {})
    if not isinstance(fields, Mapping):
        raise ConfigError(f"source.fields is {fields!r}; expected a mapping, such as {{sentences: KEY}}")
    keys = {role: _key(entries, names) for role, names in names_of(fields).items()}
    target = next((role for role in TARGETS if keys[role]), "")
    if missing := [role for role in ("image", "sentences") if not keys[role]]:
        seen = ", ".join(dict.fromkeys(key for entry in entries[:50] for key in entry))
        raise SourceError(
            f"{path}: no entry has a key for the {missing[0]} that is known ({', '.join(NAMES[missing[0]])}); it has "
            f"{seen}. Say source.fields={{{missing[0]}: KEY}}"
        )
    if not target:
        known = ", ".join(key for role in TARGETS for key in NAMES[role])
        raise SourceError(f"{path}: no entry says what its sentence means, by one of {known}")
    root = Path(os.path.commonpath([images, path.parent]))
    names = Counter(entry[keys["image"]] for entry in entries if isinstance(entry.get(keys["image"]), str))
    sizes = {name: size for name in islice(names, _PICTURES) if (size := size_of(images / name))}
    if not sizes:
        raise SourceError(f"{path}: its pictures, such as {next(iter(names), '(none)')!r}, are not in {images}")
    masks = {}
    if target == "mask":
        masks = {"masks": Option(_masks(entries, keys["mask"], root, images), "mask files are below it")}
    splits, ways, file = _splits(path, entries, list(names), root)
    texts = [text for entry in entries for text in _texts(entry.get(keys["sentences"]))]
    empty = sum(value in ([], {}) for entry in entries if (value := entry.get(keys[target])) is not None)
    options = options_of(
        {
            "refs": Option(file, f"{len(entries)} entries: {keys['sentences']} says, {keys[target]} points"),
            "images": Option(images.relative_to(root).as_posix(), f"{len(names)} pictures are named"),
        },
        masks,
        ways,
        coordinates_of(path, entries, keys, sizes, given),
    )
    notes = (f"{len(texts)} sentences, {empty} entries without a target", *_missing(names, sizes))
    count = len(names) if "{split}" in file else max(round(len(names) * (1 - VAL_SHARE)), 1)
    words = max((len(text.split()) for text in texts), default=0)
    return Guess("refer_file", root, options, splits, count, middle(list(sizes.values())), notes, words=words)


def _of_folder(images: Path, path: Path) -> Guess:
    """REFER's form: refs that name annotations of another file."""
    records = [record for record in records_of(read_bytes(path), path) if isinstance(record, dict)]
    if not records or "ref_id" not in records[0]:
        raise SourceError(f"{path}: its records have no ref_id, as refs have")
    root = Path(os.path.commonpath([images, path.parent]))
    instances = path.parent / _INSTANCES
    if not instances.is_file():
        raise SourceError(f"{path}: names annotations by their ids; {instances} is not there to say what they are")
    splits = chosen(list(dict.fromkeys(str(record.get("split")) for record in records)), "splits that refs say")
    options = {
        "refs": Option(path.relative_to(root).as_posix(), f"{len(records)} refs in REFER's form"),
        "instances": Option(instances.relative_to(root).as_posix(), "their annotations"),
        "images": Option(images.relative_to(root).as_posix(), "pictures"),
    }
    of_train = {record.get("image_id") for record in records if record.get("split") == splits.train}
    texts = [text for record in records for text in _texts(record.get("sentences"))]
    sizes = [size for entry in islice(sorted(images.iterdir()), _PICTURES) if (size := size_of(entry))]
    words = max((len(text.split()) for text in texts), default=0)
    note = f"{len(texts)} sentences, {sum(bool(record.get('no_target')) for record in records)} refs without a target"
    return Guess("refer_folder", root, options, splits, len(of_train), middle(sizes), (note,), words=words)


def _key(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The name that most entries have, '' for none."""
    counted = Counter(name for entry in entries for name in names if entry.get(name) is not None)
    return counted.most_common(1)[0][0] if counted else ""


def _texts(value: Any) -> list[str]:
    found = value if isinstance(value, list) else [value]
    texts = [entry.get("sent") if isinstance(entry, dict) else entry for entry in found]
    return [text for text in texts if isinstance(text, str)]


def _splits(
    path: Path, entries: Sequence[Mapping[str, Any]], pictures: Sequence[str], root: Path
) -> tuple[Splits, dict, str]:
    if found := twins(path):
        splits = chosen(list(found), "files of these names")
        template = Path(found[splits.train][1]).relative_to(root).as_posix()
        return splits, {"splits": Option(list(splits.names), splits.why)}, template
    file = path.relative_to(root).as_posix()
    key = next((key for key in _SPLIT_KEYS if all(isinstance(entry.get(key), str) for entry in entries)), "")
    if key:
        splits = chosen(list(dict.fromkeys(entry[key] for entry in entries)), f"the key {key!r} of the entries")
        options = {"split_field": Option(key, "says the split of an entry")}
        return splits, options | {"splits": Option(list(splits.names), splits.why)}, file
    if len(pictures) < 2:
        splits = Splits(("train",), "train", "", "one picture: nothing is left to validate on")
        return splits, {"splits": Option(["train"], splits.why)}, file
    share = min(max(VAL_SHARE, round(1.5 / len(pictures), 3)), 0.5)
    shares = (round(1 - share, 3), share)
    drawn = [Splitting(("train", "val"), False, "", shares, seed) for seed in range(_SEEDS)]
    seed = next((rule.seed for rule in drawn if len({rule.of({}, name, "") for name in pictures}) == 2), 0)
    why = "no split was found: pictures are drawn by a seed, all entries of one together"
    splits = Splits(("train", "val"), "train", "val", why)
    options = {"splits": Option(["train", "val"], why), "shares": Option(list(shares), "of the pictures")}
    return splits, options | ({"seed": Option(seed, "the first that leaves pictures to both")} if seed else {}), file


def _masks(entries: Sequence[Mapping[str, Any]], key: str, root: Path, images: Path) -> str:
    """The folder, below the root, that names of mask files start from."""
    value = next((entry[key] for entry in entries if entry.get(key)), "")
    name = value[0] if isinstance(value, list) else value
    for place in ("", "masks", images.relative_to(root).as_posix()):
        if isinstance(name, str) and (root / place / name).is_file():
            return place
    raise SourceError(f"mask {name!r} is neither below {root}, its folder masks, nor {images}")


def _missing(names: Counter[str], sizes: Mapping[str, Size]) -> list[str]:
    absent = [name for name in islice(names, _PICTURES) if name not in sizes]
    return [f"{len(absent)} of the first {_PICTURES} pictures cannot be read, such as {absent[0]}"] if absent else []
