"""Which pictures are meant: paths, folders, globs, lists and URLs become the places of single pictures and videos.

Owns the order (sorted inside a folder or glob, as given otherwise), what a folder's pictures are (its videos are none:
they are named themselves, or by a glob that ends in their suffix), and that whoever names something that is not there
hears it before anything is loaded. What becomes of a picture's bytes is `pipeline.files.photos`', of a video's
`video_files`'.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.files.patterns import SIGNS, folder_and_pattern
from shards.errors import ConfigError, Reject

# What Pillow reads without plug-ins of others and people keep photos in.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif")
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".ogv", ".wmv", ".flv",
    ".3gp",
)  # fmt: skip
LISTS = (".txt", ".lst")


@dataclass(frozen=True)
class PictureFile:
    """One picture, or one video.

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
                f"({', '.join(SUFFIXES)}), a video's file, a list of them (.txt, one path a line), or a URL that "
                "fsspec reads."
            )
    return list(found.values())


def is_video(place: str) -> bool:
    """Whether a path or URL names a video, by its suffix."""
    path = place.partition("?")[0] if place.startswith(("http://", "https://")) else place  # elsewhere `?` is a letter
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


def read(place: str) -> np.ndarray:
    """A picture, uint8 [H, W, 3]; Reject: it cannot be read, whatever the reason."""
    from pipeline.files.photos import decode_picture, read_picture

    if "://" not in place:
        return read_picture(Path(os.path.expanduser(place)))
    with opened(place, "picture") as file:
        try:
            payload = file.read()
        except Exception as error:  # every file system has its own errors; the picture is named and the others go on
            raise Reject(f"picture {place} cannot be read: {str(error) or type(error).__name__}") from error
    return decode_picture(payload, f"picture {place}")


@contextmanager
def opened(url: str, what: str) -> Iterator[Any]:
    """The open file of a URL; Reject: it cannot be opened, whatever the reason."""
    import fsspec

    try:
        file: Any = fsspec.open(url, "rb").open()  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # every file system has its own errors
        raise Reject(f"{what} {url} cannot be read: {str(error) or type(error).__name__}") from error
    with file:
        yield file


def _named(text: str) -> Iterator[PictureFile]:
    text = text.removeprefix("file://")
    if "://" in text:
        yield from _of_url(text)
        return
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        yield from _below(path, sorted(_walk(path)))
    elif path.suffix.lower() in LISTS and path.is_file():
        yield from _of_list(path)
    elif path.is_file():
        yield PictureFile(str(path), path.name)
    elif SIGNS & set(text):
        yield from _of_glob(path)


def _walk(folder: Path) -> Iterator[Path]:
    """Pictures below a folder; what is hidden is left alone, such as what a killed writer left."""
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(base, name) for name in files)


def _is_picture(name: str, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Of a path below what was named."""
    return name.lower().endswith(suffixes) and not any(part.startswith(".") for part in name.split("/"))


def _meant(pattern: str) -> tuple[str, ...]:
    """The suffixes that a glob takes: those of pictures, and a video's where it ends in one."""
    suffix = PurePosixPath(pattern).suffix.lower()
    return (*SUFFIXES, suffix) if is_video(pattern) else SUFFIXES


def _below(folder: Path, files: Iterable[Path], suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[PictureFile]:
    for file in files:
        name = file.relative_to(folder).as_posix()
        if _is_picture(name, suffixes):
            yield PictureFile(str(file), name)


def _of_glob(pattern: Path) -> Iterator[PictureFile]:
    """`**` for folders at any depth; names are those below the last folder without a pattern."""
    folder, below = folder_and_pattern(Path(), pattern)
    matches = sorted(file for file in folder.glob(below) if file.is_file())
    yield from _below(folder, matches, _meant(str(pattern)))


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

    suffixes = _meant(url)
    try:
        files, path = fsspec.core.url_to_fs(url)
        root, pattern = _searched(files, path)
        if pattern:
            matches = files.glob(f"{glob.escape(root)}/{pattern}")
        elif PurePosixPath(path).suffix.lower() not in suffixes and files.isdir(path):
            matches = [match for match in sorted(files.find(path)) if _is_picture(PurePosixPath(match).name)]
        else:
            yield PictureFile(url, PurePosixPath(path).name)
            return
    except Exception as error:  # every file system has its own errors, and they are all "cannot be asked"
        raise ConfigError(f"images={url}: cannot be listed: {str(error) or type(error).__name__}.") from error
    for match in sorted(map(str, matches)):
        name = match.removeprefix(root).lstrip("/")
        if _is_picture(name, suffixes):
            yield PictureFile(files.unstrip_protocol(match), name)


def _searched(files: Any, path: str) -> tuple[str, str]:
    """The folder of a file system that a path names before its first sign, and the pattern of the rest, which may be
    empty. A folder with a bracket in its name is asked for; other signs are always of a pattern, as `?` is in URLs."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if SIGNS & set(part) and not ("[" in part and files.isdir("/".join(parts[: place + 1]))):
            return "/".join(parts[:place]), "/".join(parts[place:])
    return path, ""
