"""Everything of a source of pictures and partners that does not depend on what the partner is.

Owns the splits' listings, made once, the keys and counts that follow from them, and how options name the folders. What
is common to the names is `matching`'s; labels are for `labels`, depth for `depth_folders`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.files.readable import Readable
from pipeline.reopened import Reopened
from pipeline.sources.pairs.matching import Folders, Listing, Pair, list_pairs
from pipeline.sources.pairs.splits import splits_of
from shards.errors import ConfigError, SourceError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class PairedFiles(Reopened):
    """The part of a Source (see `pipeline.example`) that lists pairs. Thread-safe."""

    file_entries = ("pairs", "names_and_sizes_sha256")

    def __init__(self, folders: Mapping[str, Folders]) -> None:
        self.folders, self.splits = dict(folders), tuple(folders)
        self._lock = Lock()
        self._listings: dict[str, Listing] = {}

    def keys(self, split: str) -> list[str]:
        """Names of the files without suffix, ascending; characters a shard cannot hold are percent-encoded."""
        return list(self.listing(split).pairs)

    def counts(self, split: str) -> dict[str, int]:
        """Pictures of the split, with or without a partner."""
        return {"images": len(self.listing(split).pairs)}

    def files(self, split: str) -> dict[str, Any]:
        """What identifies the split's files: a hash of names and sizes. Their contents are not read for it: 20,000
        small files take minutes on a network disk."""
        return {"pairs": len(self.listing(split).pairs), "names_and_sizes_sha256": self.listing(split).sha256}

    def files_of(self, split: str, key: str) -> dict[str, Path] | None:
        """Picture and partner, as far as they are there; None where they are rows of a table."""
        pair, folders = self.pair(split, key), self.folders[split]
        found = {"images": (pair.image, folders.images), folders.kind: (pair.label, folders.labels)}
        paths = {f"{side}/{name_below(path, base)}": path for side, (path, base) in found.items() if path is not None}
        files = {name: path for name, path in paths.items() if isinstance(path, Path)}
        return files if len(files) == len(paths) else None

    def pair(self, split: str, key: str) -> Pair:
        """SourceError: the split has no such key."""
        pair = self.listing(split).pairs.get(key)
        if pair is None:
            raise SourceError(f"{self.folders[split].images}: split {split} has no picture {key!r}")
        return pair

    def listing(self, split: str) -> Listing:
        """The pairs of a split, listed once. SourceError: unknown split, missing folder, or not one pair."""
        if split not in self.folders:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._listings:
                self._listings[split] = self.list_split(split)
            return self._listings[split]

    def list_split(self, split: str) -> Listing:
        """The pairs of a split, as they are found. SourceError."""
        return list_pairs(self.folders[split], split)


def name_below(path: Readable, folder: Path) -> str:
    """A file's path below a folder, or its name where a list put it elsewhere."""
    if not isinstance(path, Path):
        return str(path)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def folders_of(
    source: str,
    root: Path,
    ways: tuple[Sequence[str], Mapping[str, str] | None, Mapping[str, float] | None, int],
    images: tuple[str, str, str | Sequence[str]],
    partners: tuple[str, str, str],
    kind: str = "label",
    one_file: bool = False,
) -> dict[str, Folders]:
    """The folders of every split.

    Args:
        ways: `splits`, `lists`, `shares` and `seed`, as configured.
        images: folder, with `{split}` for the split, prefix and suffixes of the pictures.
        partners: folder, prefix and suffix of their partners.
        kind: what a partner is.
        one_file: picture and partner are parts of one file.

    Raises:
        ConfigError: splits that contradict the folders, or names that do not tell pictures from partners.
    """
    splits, lists, shares, seed = ways
    chosen = splits_of(source, root, splits, lists or {}, shares or {}, seed, (images[0], partners[0])).chosen
    suffixes = (images[2],) if isinstance(images[2], str) else tuple(images[2])
    if not one_file and not lists and images[:2] == partners[:2] and partners[2] in suffixes:
        raise ConfigError(
            f"source {source}: the picture and its {kind} are both in {images[0]!r}; give them two folders, or names "
            f"that differ in image_suffix and {kind}_suffix"
        )
    return {
        split: Folders(
            root / images[0].replace("{split}", split),
            root / partners[0].replace("{split}", split),
            suffixes,
            partners[2],
            images[1],
            partners[1],
            kind,
            choice,
            one_file,
        )
        for split, choice in chosen.items()
    }
