"""Which file belongs to which picture: two folders and what is common to the names, or a list of a split.

Owns pairs, their keys, and the hash that says whether files were added, removed or replaced. A picture without a
partner, or a partner without a picture, stays in the listing, so that it becomes a reject and is never left out in
silence. What the partner is (a label, a depth map) and what it holds is for `labels` and `depth_folders`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.files.foreign import hint
from pipeline.files.readable import Readable
from pipeline.files.trees import folders_below
from pipeline.sources.pairs.splits import Chosen, ListFile
from shards.errors import Reject, SourceError


@dataclass(frozen=True)
class Folders:
    """Where one split lies. Names are `<prefix><stem><suffix>`; stems may hold sub-folders, alike on both sides.

    Args:
        kind: what the partner of a picture is, for messages.
        one_file: picture and partner are parts of one file.
        chosen: which of the stems belong to the split; None: all of them.
    """

    images: Path
    labels: Path
    image_suffixes: tuple[str, ...] = (".jpg",)
    label_suffix: str = ".png"
    image_prefix: str = ""
    label_prefix: str = ""
    kind: str = "label"
    chosen: Chosen | None = None
    one_file: bool = False


@dataclass(frozen=True)
class Pair:
    """One picture and its partner; one of the two may be missing, or both if only a list names them."""

    stem: str
    image: Readable | None
    label: Readable | None


@dataclass(frozen=True)
class Listing:
    """The pairs of a split by record key, in order of their stems, and a hash of all names and sizes."""

    pairs: Mapping[str, Pair]
    sha256: str


def key_of(stem: str) -> str:
    """Record key of a file stem: visible ASCII without dot and slash, one for one."""
    key = quote(stem, safe="").replace(".", "%2E")
    return "%5F" + key[1:] if key.startswith("_") else key


def list_pairs(folders: Folders, split: str) -> Listing:
    """The pairs of a split. SourceError: a folder or list is missing, nothing pairs up, or a name comes twice."""
    if isinstance(folders.chosen, ListFile) and (columns := folders.chosen.path_pairs()):
        bases = (folders.chosen.root, folders.images, folders.labels)
        return _listing({stem: (_found(image, bases), _found(label, bases)) for stem, image, label in columns})
    partner = (folders.label_prefix, (folders.label_suffix,))
    images = files_below(
        folders.images,
        folders.image_suffixes,
        split,
        folders.image_prefix,
        not_these=partner if folders.images == folders.labels and not folders.one_file else None,
    )
    labels = files_below(folders.labels, (folders.label_suffix,), split, folders.label_prefix)
    if not images.keys() & labels.keys():
        raise SourceError(
            f"split {split}: no picture has a {folders.kind}. Found {_some(images)} in {folders.images} and "
            f"{_some(labels)} in {folders.labels}; expected {folders.image_prefix}<name>"
            f"{' or '.join(folders.image_suffixes)} beside {folders.label_prefix}<name>{folders.label_suffix} of the "
            f"same name{hint(folders.images, folders.labels)}"
        )
    stems: Iterable[str] = images.keys() | labels.keys()
    if folders.chosen is not None:
        stems = folders.chosen.stems(sorted(stems), (folders.image_prefix, folders.image_suffixes), split)
    return _listing({stem: (images.get(stem), labels.get(stem)) for stem in sorted(stems)})


def both_files(pair: Pair, folders: Folders) -> tuple[Readable, Readable]:
    """(picture, partner). Reject: one of them is missing, and which name was looked for."""
    wanted = " or ".join(folders.image_prefix + pair.stem + suffix for suffix in folders.image_suffixes)
    if pair.image is None and pair.label is None:
        raise Reject(f"{pair.stem!r} is named in the list of the split; there is no {wanted} in {folders.images}")
    if pair.image is None:
        raise Reject(f"{folders.kind} {pair.label} has no picture: {wanted} is not in {folders.images}")
    if pair.label is None:
        partner = folders.labels / f"{folders.label_prefix}{pair.stem}{folders.label_suffix}"
        raise Reject(f"picture {pair.image} has no {folders.kind}: {partner} does not exist")
    return pair.image, pair.label


def files_below(
    folder: Path,
    suffixes: tuple[str, ...],
    split: str,
    prefix: str = "",
    not_these: tuple[str, tuple[str, ...]] | None = None,
    pattern: str = "",
) -> dict[str, tuple[Path, int]]:
    """(path, bytes) of every file below a folder with the prefix and one of the suffixes, by its path without them.

    Args:
        not_these: prefix and suffixes of other files in the same folder.
        pattern: only files whose path below the folder it matches, `**` standing for folders at any depth.

    Raises:
        SourceError: no such folder, two files of one name, or something that is no file.
    """
    if not folder.is_dir():
        beside = sorted(p.name for p in folder.parent.iterdir())[:8] if folder.parent.is_dir() else []
        raise SourceError(
            f"split {split}: {folder} is not a folder; {folder.parent} "
            + (f"holds {', '.join(beside) or 'nothing'}" if folder.parent.is_dir() else "does not exist either")
        )
    found: dict[str, tuple[Path, int]] = {}
    for at, names in _matching(folder, pattern) if pattern else folders_below(folder):
        below = at.relative_to(folder).as_posix()
        for name in names:
            common = stem_of(name, prefix, suffixes)
            if common is None or name.startswith(".") or (not_these and stem_of(name, *not_these) is not None):
                continue
            path = at / name
            stem = common if below == "." else f"{below}/{common}"
            if stem in found:
                raise SourceError(f"split {split}: {path} and {found[stem][0]} have the same name; remove one")
            found[stem] = (path, _bytes_of(path, split))
    return found


def _matching(folder: Path, pattern: str) -> Iterator[tuple[Path, list[str]]]:
    """Folders and the names in them that a pattern matches; what is hidden is left alone."""
    found: dict[Path, list[str]] = {}
    for path in sorted(folder.glob(pattern)):
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            found.setdefault(path.parent, []).append(path.name)
    yield from found.items()


def _bytes_of(path: Path, split: str) -> int:
    """-1 of a link to nothing, which is missed when it is read. SourceError for what is no file."""
    try:
        found = path.stat()
    except OSError:
        return -1
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"split {split}: {path} is no plain file but a pipe or a device; remove it")
    return found.st_size


def stem_of(name: str, prefix: str, suffixes: tuple[str, ...]) -> str | None:
    """What is left of a file's name, or None if it begins or ends otherwise. Suffixes are found in any case."""
    suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix.lower())), None)
    if suffix is None or not name.startswith(prefix) or len(name) <= len(prefix) + len(suffix):
        return None
    return name[len(prefix) : len(name) - len(suffix)]


def _listing(files: Mapping[str, tuple[tuple[Path, int] | None, tuple[Path, int] | None]]) -> Listing:
    digest = hashlib.sha256()
    pairs: dict[str, Pair] = {}
    for stem, (image, label) in files.items():
        pairs[key_of(stem)] = Pair(stem, image and image[0], label and label[0])
        digest.update(f"{stem}\t{image and image[1]}\t{label and label[1]}\n".encode())
    return Listing(pairs, digest.hexdigest())


def _found(name: str, bases: Iterable[Path]) -> tuple[Path, int] | None:
    path = next((base / name for base in bases if (base / name).is_file()), None)
    return path and (path, path.stat().st_size)


def _some(found: Mapping[str, tuple[Path, int]], limit: int = 3) -> str:
    names = [path.name for path, _ in list(found.values())[:limit]]
    return f"{len(found)} files" + (f" ({', '.join(names)}{', ...' if len(found) > limit else ''})" if names else "")
