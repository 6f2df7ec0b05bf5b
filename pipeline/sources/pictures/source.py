"""Pictures alone, or with captions: latents and text for any other research.

Layout       <root>/<images>/<stem><suffix>, in any sub-folders; `{split}` stands for the split
             or files that a pattern matches, `images: "{split}/**/cat*"`
             or tars of img2dataset or WebDataset, `tars: "train/*.tar"`, in a folder or at a URL, that hold
             <sample>.jpg, <sample>.txt, <sample>.json
Splits       a folder or pattern each, a list each (`lists`), or seeded parts (`shares`)
Captions     none; `txt`: a text file beside each picture; `json:KEY`: an entry of a JSON file beside each; or a
             .jsonl or .csv with file names and texts
Record       one picture; with captions, each is a sentence, and all of them are its one item

Owns the options, and pictures in folders. Leaves the forms of captions to `captions`, tars to `tars`. Web addresses and
EXIF blocks of img2dataset's JSON are not stored: they may say where a private picture was taken.

    source: {name: pictures, root: data/holiday, images: ".", splits: [train]}
    source: {name: pictures, root: "s3://mine/laion", tars: "{split}/*.tar", splits: [train], captions: json:caption}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.example import Example
from pipeline.files.patterns import folder_and_pattern
from pipeline.files.photos import load_picture
from pipeline.files.readable import contents
from pipeline.files.tars.places import place_of
from pipeline.files.tars.reading import TarReader
from pipeline.reopened import Reopened
from pipeline.sources.pairs.matching import files_below, key_of
from pipeline.sources.pairs.splits import Chosen, splits_of
from pipeline.sources.pictures.captions import Captions, read_table
from pipeline.sources.pictures.records import card_of, counts_of, record_of
from pipeline.sources.pictures.tars import PicturesInTars
from shards.contract.schema import Field
from shards.errors import ConfigError, Reject, SourceError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def build(
    root: str | Path,
    splits: Sequence[str] = (),
    images: str = "{split}",
    tars: str = "",
    image_suffix: str | Sequence[str] = SUFFIXES,
    captions: str = "",
    missing_caption: str = "reject",
    lists: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    title: str = "",
    storage: Mapping[str, str] | None = None,
    indexes: str = "",
) -> PicturesSource | PicturesInTars:
    """The source.

    Args:
        root: folder the others are relative to; of tars also a URL.
        splits: names of the splits; train alone where nothing else is said.
        images: folder below `root`, or a pattern of files; `{split}` stands for the split.
        tars: in place of `images`: which tars, as a pattern, `{split}/*.tar`, or `{split}/{00000..00331}.tar`.
        image_suffix: how pictures end.
        captions: none where empty; `txt`, `json:KEY`, or the path of a .jsonl or .csv file below `root`.
        missing_caption: a picture without one is a `reject`, or has an `empty` one.
        lists: split to a text file with the name of a picture a line.
        shares: split to its part of all pictures, drawn by `seed`.
        seed: of `shares`.
        title: for the set's README.
        storage: of a URL, nothing secret: endpoint, region.
        indexes: folder of this machine for what lies where in the tars; one of the user's in the temporary folder by
            default.

    Raises:
        ConfigError: options that contradict each other.
        SourceError: a caption file that cannot be read.
    """
    base, where = Path(root), "source pictures"
    said = Captions.of(captions, missing_caption)
    if tars and said.table:
        raise ConfigError(f"{where}: captions of tars are members beside the pictures; set captions: txt, or json:KEY")
    if not tars and ("://" in str(root) or storage or indexes):
        raise ConfigError(f"{where}: root {root} is read without tars; URLs, storage and indexes are for tars")
    if tars.startswith("/") or ".." in tars.split("/"):
        raise ConfigError(f"{where}: tars is {tars!r}; expected a pattern below root, without / in front or .. in it")
    if lists and "://" in str(root):
        raise ConfigError(f"{where}: lists are files below a folder, and root is {root}; use splits or shares")
    if not (splits or lists or shares):
        splits = ("train",)
    chosen = splits_of("pictures", base, splits, lists or {}, shares or {}, seed, (tars or images,)).chosen
    suffixes = (image_suffix,) if isinstance(image_suffix, str) else tuple(image_suffix)
    if tars:
        reader = TarReader(place_of(str(root), storage or {}), indexes)
        return PicturesInTars(reader, tars, suffixes, said, chosen, title or base.name)
    return PicturesSource(base, images, suffixes, said, chosen, title or base.name)


Found = tuple[str, Path, int]  # name without suffix, where, bytes


class PicturesSource(Reopened):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and lists the files again."""

    name = "pictures"
    label_fields: tuple[Field, ...] = ()
    file_entries = ("pictures", "names_and_sizes_sha256")

    def __init__(
        self,
        root: Path,
        images: str,
        suffixes: tuple[str, ...],
        captions: Captions,
        chosen: Mapping[str, Chosen | None],
        title: str,
    ) -> None:
        self.root, self.images, self.suffixes, self.captions = root, images, suffixes, captions
        self.chosen, self.title, self.splits = dict(chosen), title, tuple(chosen)
        self.item_axis = "sentence" if captions else "view"
        self._table = read_table(root / captions.table) if captions.table else {}
        self._lock = Lock()
        self._listings: dict[str, Mapping[str, Found]] = {}

    def keys(self, split: str) -> list[str]:
        """Names of the pictures without suffix."""
        return list(self._listing(split))

    def counts(self, split: str) -> dict[str, int]:
        return counts_of(len(self._listing(split)), bool(self.captions))

    def load(self, split: str, key: str) -> Example:
        """Reject: the picture cannot be read, or has no caption."""
        found = self._listing(split).get(key)
        if found is None:
            raise SourceError(f"{self.root}: split {split} has no picture {key!r}")
        name, path, _ = found
        picture = load_picture(path)
        return record_of(key, name, picture, self._captions(name, path) if self.captions else None)

    def files_of(self, split: str, key: str) -> dict[str, Path]:
        """The picture, and the file beside it."""
        _, path, _ = self._listing(split)[key]
        files = {path.name: path}
        if self.captions.beside:
            beside = path.with_suffix(f".{self.captions.beside}")
            files[beside.name] = beside
        return files

    def identity(self, split: str) -> dict[str, Any]:
        """Options, the captions of a table, and a hash of the names and sizes of all pictures of the split."""
        digest = hashlib.sha256()
        for name, _, size in self._listing(split).values():
            digest.update(f"{name}\t{size}\n".encode())
        identity: dict[str, Any] = {
            "name": self.name,
            "split": split,
            "tars": False,
            "captions": self.captions.said,
            "missing_caption": self.captions.missing,
            "pictures": len(self._listing(split)),
            "names_and_sizes_sha256": digest.hexdigest(),
        }
        if self._table:
            identity["captions_sha256"] = hashlib.sha256(json.dumps(sorted(self._table.items())).encode()).hexdigest()
        return identity

    def card(self) -> dict[str, Any]:
        return card_of(self.title, self.splits)

    def _captions(self, name: str, path: Path) -> tuple[str, ...]:
        where = f"picture {name}"
        if self.captions.table:
            return self.captions.kept(self._table.get(name, ()), where)
        beside = path.with_suffix(f".{self.captions.beside}")
        try:
            found = self.captions.read(contents(beside), str(beside))
        except FileNotFoundError:
            found = ()
        except OSError as error:
            raise Reject(f"{where}: its caption {beside} cannot be read: {error}") from error
        return self.captions.kept(found, where)

    def _listing(self, split: str) -> Mapping[str, Found]:
        """By record key. SourceError: unknown split, missing folder, or no picture in it."""
        if split not in self.chosen:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._listings:
                found = self._in_folder(split)
                choice = self.chosen[split]
                names = choice.stems(sorted(found), ("", self.suffixes), split) if choice else list(found)
                if absent := [name for name in names if name not in found]:
                    raise SourceError(f"split {split}: its list names {absent[0]!r}, which is no picture here")
                self._listings[split] = {key_of(name): found[name] for name in names}
            return self._listings[split]

    def _in_folder(self, split: str) -> dict[str, Found]:
        folder, pattern = folder_and_pattern(self.root, self.images.replace("{split}", split))
        files = files_below(folder, self.suffixes, split, pattern=pattern)
        if not files:
            where = f"{folder} that {pattern} matches" if pattern else str(folder)
            raise SourceError(f"split {split}: no picture in {where}; expected {', '.join(self.suffixes)}")
        return {stem: (stem, path, size) for stem, (path, size) in sorted(files.items())}
