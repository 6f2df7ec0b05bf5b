"""Pictures without labels: whether they lie in tars or in folders, where their splits are, and where their captions.

Owns what a first tar, or the first pictures of a folder, can tell. `pictures` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from pipeline.files.entries import parse_json
from pipeline.files.photos import load_payload
from pipeline.files.readable import contents
from pipeline.files.tars.index import Member
from pipeline.files.tars.places import LocalTars, TarFile
from pipeline.files.tars.reading import TarReader
from pipeline.files.trees import folders_below
from pipeline.layouts.folders import FOLDER, chosen, folder
from pipeline.layouts.guess import Guess, Option, Splits
from pipeline.layouts.sizes import LOOKED_AT, middle, size_of
from pipeline.sources.pictures.captions import TEXT_COLUMNS
from pipeline.sources.pictures.source import SUFFIXES
from pipeline.sources.pictures.tar_listing import picture_of
from shards.errors import ConfigError, Reject, SourceError
from shards.geometry.view import Size

_NONE = Option("", "no captions were found beside the first pictures")


def look(images: str) -> Guess:
    """SourceError: no picture and no tar below the folder."""
    if "://" in images:
        raise ConfigError(f"images={images}: init looks at folders of this machine; copy configs/build/own_tars.yaml")
    root = folder(images, "images")
    place = LocalTars(root)
    tars = [tar for tar in place.tars("**/*.tar") if not any(part.startswith(".") for part in Path(tar.name).parts)]
    return _in_tars(root, TarReader(place), tars) if tars else _in_folders(root)


def _in_tars(root: Path, reader: TarReader, tars: Sequence[TarFile]) -> Guess:
    parents = sorted({PurePosixPath(tar.name).parent.as_posix() for tar in tars})
    splits, pattern = _splits(parents, "*.tar", "**/*.tar")
    samples: list[Mapping[str, Member]] = []
    sizes: list[Size] = []
    captions = _NONE
    for tar in tars:  # the first that holds pictures
        found = [one for one in reader.samples(tar).values() if picture_of(one, SUFFIXES)]
        samples = list(islice(found, LOOKED_AT))
        if samples:
            sizes = [size for one in samples[:8] if (size := _size(reader, tar, one))]
            captions = _captions([one.keys() for one in samples], _entry(reader, tar, samples))
            break
    if not samples:
        raise SourceError(f"images={root}: {len(tars)} tars, and no picture in them, {', '.join(SUFFIXES)}")
    where = {"tars": Option(pattern, f"{len(tars)} of them, such as {tars[0].name}")}
    return Guess("pictures", root, {**where, **_options(captions, splits)}, splits, 0, middle(sizes))


def _in_folders(root: Path) -> Guess:
    paths = list(islice(_pictures(root), LOOKED_AT))
    if not paths:
        raise SourceError(f"images={root}: holds no picture, {', '.join(SUFFIXES)}, and no .tar")
    parts = sorted({path.relative_to(root).parts[0] if path.parent != root else "." for path in paths})
    folders = [entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    splits, place = _splits(sorted(folders) if "." not in parts and folders else parts, "", ".")
    beside = [[end for end in ("txt", "json") if path.with_suffix(f".{end}").is_file()] for path in paths]
    first = next((path for path, found in zip(paths, beside, strict=True) if "json" in found), None)
    entry = contents(first.with_suffix(".json")) if first else b""
    captions = _captions(beside, _keyed(entry, str(first)))
    if table := next((name for name in ("metadata.jsonl", "metadata.csv") if (root / name).is_file()), ""):
        captions = Option(table, "a table of file names and texts")
    sizes = [size for path in paths if (size := size_of(path))]
    where = {"images": Option(place, f"pictures such as {paths[0].relative_to(root).as_posix()}")}
    return Guess("pictures", root, {**where, **_options(captions, splits)}, splits, 0, middle(sizes))


def _pictures(root: Path) -> Iterable[Path]:
    for at, names in folders_below(root):
        yield from (at / name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))


def _splits(parents: Sequence[str], end: str, whole: str) -> tuple[Splits, str]:
    """The splits, and where each lies below the root: `end` inside of its folder, or `whole`."""
    if parents and all(FOLDER.fullmatch(name) for name in parents):
        return chosen(list(parents), "folders of these names"), f"{{split}}/{end}".rstrip("/")
    pattern = end if end and list(parents) == ["."] else whole
    return Splits(("train",), "train", "", "no folders of splits: one set of all pictures"), pattern


def _options(captions: Option, splits: Splits) -> dict[str, Option]:
    options = {"captions": captions}
    if captions.value:
        options["missing_caption"] = Option("empty", "or reject, which leaves such pictures out")
    return options | {"splits": Option(list(splits.names), splits.why.partition(":")[0])}


def _captions(beside: Sequence[Iterable[str]], key: str) -> Option:
    """From what lies beside every one of the first pictures."""
    for end, value in (("txt", "txt"), ("json", f"json:{key}" if key else "")):
        count = sum(end in found for found in beside)
        if value and 2 * count >= len(beside):
            return Option(value, f"{count} of the first {len(beside)} pictures have a .{end} beside them")
    return _NONE


def _entry(reader: TarReader, tar: TarFile, samples: Sequence[Mapping[str, Member]]) -> str:
    """Of the first sample that has a JSON file."""
    member = next((one["json"] for one in samples if "json" in one), None)
    try:
        return _keyed(reader.read(tar, [member])[0], tar.name) if member else ""
    except Reject:  # the tar is cut there
        return ""


def _keyed(payload: bytes, where: str) -> str:
    """The entry of a JSON object that is a caption, by its name; empty: none is."""
    try:
        entries = parse_json(payload, where) if payload else None
    except SourceError:
        return ""
    return next((key for key in TEXT_COLUMNS if isinstance(entries, dict) and key in entries), "")


def _size(reader: TarReader, tar: TarFile, sample: Mapping[str, Member]) -> Size | None:
    member = picture_of(sample, SUFFIXES)
    try:
        picture = load_payload(reader.read(tar, [member])[0], tar.name) if member else None
    except Reject:
        return None
    return (picture.height, picture.width) if picture else None
