"""Which pictures are meant: paths, folders, globs, lists and URLs become the places of single pictures.

Owns the order (sorted inside a folder or glob, as given otherwise), what a folder's pictures are, and that whoever
names something that is not there hears it before anything is loaded. What becomes of a picture's bytes is
`pipeline.files.photos`'.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from shards.errors import ConfigError, Reject

# What Pillow reads without plug-ins of others and people keep photos in.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif")
LISTS = (".txt", ".lst")
_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class PictureFile:
    """One picture.

    Attributes:
        place: path or URL that it is read from.
        name: its path below the folder or glob that it was found by, with `/`; its file name where it was named itself.
    """

    place: str
    name: str


def pictures_of(images: Iterable[str]) -> list[PictureFile]:
    """The pictures that paths, folders, globs, list files (.txt, one a line) and URLs name, each place once.

    Raises:
        ConfigError: one of them names nothing, or a place that cannot be asked.
    """
    found: dict[str, PictureFile] = {}
    for named in images:
        before = len(found)
        listed = list(_named(named))
        for picture in listed:
            found.setdefault(picture.place, picture)
        if not listed and len(found) == before:
            raise ConfigError(
                f"images={named}: no picture there. Expected a picture's file, a folder or a glob with pictures "
                f"({', '.join(SUFFIXES)}), a list of them (.txt, one path a line), or a URL that fsspec reads."
            )
    return list(found.values())


def read(place: str) -> np.ndarray:
    """A picture, uint8 [H, W, 3]; Reject: it cannot be read, whatever the reason."""
    from pipeline.files.photos import decode_picture, read_picture

    if "://" not in place:
        return read_picture(Path(place).expanduser())
    import fsspec

    try:
        with fsspec.open(place, "rb") as file:
            payload = file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # every file system has its own errors; the picture is named and the others go on
        raise Reject(f"picture {place} cannot be read: {str(error) or type(error).__name__}") from error
    return decode_picture(payload, f"picture {place}")


def _named(text: str) -> Iterator[PictureFile]:
    text = text.removeprefix("file://")
    if "://" in text:
        yield from _of_url(text)
        return
    path = Path(text).expanduser()
    if path.is_dir():
        yield from _below(path, sorted(_walk(path)))
    elif path.suffix.lower() in LISTS and path.is_file():
        yield from _of_list(path)
    elif path.is_file():
        yield PictureFile(str(path), path.name)
    elif _PATTERN & set(text):
        yield from _of_glob(path)


def _walk(folder: Path) -> Iterator[Path]:
    """Pictures below a folder; what is hidden is left alone, such as what a killed writer left."""
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(base, name) for name in files)


def _is_picture(name: str) -> bool:
    """Of a path below what was named."""
    return name.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in name.split("/"))


def _below(folder: Path, files: Iterable[Path]) -> Iterator[PictureFile]:
    for file in files:
        name = file.relative_to(folder).as_posix()
        if _is_picture(name):
            yield PictureFile(str(file), name)


def _of_glob(pattern: Path) -> Iterator[PictureFile]:
    """`**` for folders at any depth; names are those below the last folder without a pattern."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if _PATTERN & set(part))
    folder = Path(*parts[:first]) if first else Path()
    matches = sorted(file for file in folder.glob(str(Path(*parts[first:]))) if file.is_file())
    yield from _below(folder, matches)


def _of_list(path: Path) -> Iterator[PictureFile]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"images={path}: a list of paths that cannot be read: {error}.") from error
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            whole = line if "://" in line or os.path.isabs(os.path.expanduser(line)) else str(path.parent / line)
            yield PictureFile(whole, PurePosixPath(line.replace("\\", "/")).name)


def _of_url(url: str) -> Iterator[PictureFile]:
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
        if _PATTERN & set(path):
            matches = files.glob(path)
            fixed = path[: min(path.index(sign) for sign in _PATTERN if sign in path)]
            root = fixed.rsplit("/", 1)[0]
        elif PurePosixPath(path).suffix.lower() not in SUFFIXES and files.isdir(path):
            matches, root = (
                [match for match in sorted(files.find(path)) if _is_picture(PurePosixPath(match).name)],
                path,
            )
        else:
            yield PictureFile(url, PurePosixPath(path).name)
            return
    except Exception as error:  # every file system has its own errors, and they are all "cannot be asked"
        raise ConfigError(f"images={url}: cannot be listed: {str(error) or type(error).__name__}.") from error
    for match in sorted(map(str, matches)):
        name = match.removeprefix(root).lstrip("/")
        if _is_picture(name):
            yield PictureFile(files.unstrip_protocol(match), name)
