"""Pictures alone, or with captions: latents and text for any other research.

Layout       <root>/<images>/<stem><suffix>, in any sub-folders; `{split}` stands for the split
             or files that a pattern matches, `images: "{split}/**/cat*"`
             or tars of img2dataset or WebDataset, `tars: "train/*.tar"`, also gzipped: <sample>.jpg, <sample>.txt
Splits       a folder or pattern each, a list each (`lists`), or seeded parts (`shares`)
Captions     none; `txt`: a text file beside each picture; or a .jsonl or .csv with file names and texts
Record       one picture; with captions, each is a sentence, and all of them are its one item

Owns the options and the record. Leaves the forms of captions to `captions`, tars to `pipeline.files.tar_members`. Web
addresses and EXIF blocks of img2dataset's JSON are not read: they may say where a private picture was taken.

    source: {name: pictures, root: data/holiday, images: ".", splits: [train]}
    source: {name: pictures, root: data/laion, tars: "{split}/*.tar", splits: [train], captions: txt}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from pipeline.example import Example
from pipeline.files.patterns import folder_and_pattern
from pipeline.files.photos import load_payload, load_picture
from pipeline.files.readable import contents
from pipeline.files.tar_members import Member, TarMembers
from pipeline.reopened import Reopened
from pipeline.sources.pairs.matching import files_below, key_of
from pipeline.sources.pairs.splits import Chosen, splits_of
from pipeline.sources.pictures.captions import BESIDE, lines_of, read_table
from shards.contract.schema import Field
from shards.errors import ConfigError, Reject, SourceError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MISSING = ("reject", "empty")


@dataclass(frozen=True)
class Options:
    """What is read from where; see `build`."""

    images: str
    tars: str
    suffixes: tuple[str, ...]
    captions: str
    missing_caption: str


@dataclass(frozen=True)
class Found:
    """One picture: a file, or members of a tar."""

    name: str  # without suffix
    size: int
    path: Path | None = None
    tar: TarMembers | None = None
    image: Member | None = None
    text: Member | None = None


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
) -> PicturesSource:
    """The source.

    Args:
        root: folder the others are relative to.
        splits: names of the splits; train alone where nothing else is said.
        images: folder below `root`, or a pattern of files; `{split}` stands for the split.
        tars: in place of `images`: which tars, as a pattern, `{split}/*.tar`.
        image_suffix: how pictures end.
        captions: none where empty; `txt`, or the path of a .jsonl or .csv file below `root`.
        missing_caption: a picture without one is a `reject`, or has an `empty` one.
        lists: split to a text file with the name of a picture a line.
        shares: split to its part of all pictures, drawn by `seed`.
        seed: of `shares`.
        title: for the set's README.

    Raises:
        ConfigError: options that contradict each other.
        SourceError: a caption file that cannot be read.
    """
    base, where = Path(root), "source pictures"
    if missing_caption not in MISSING:
        raise ConfigError(f"{where}: missing_caption is {missing_caption!r}; expected one of {', '.join(MISSING)}")
    if captions and captions != BESIDE and not captions.lower().endswith((".jsonl", ".csv")):
        raise ConfigError(f"{where}: captions is {captions!r}; expected txt, or a .jsonl or .csv file below the root")
    if tars and captions not in ("", BESIDE):
        raise ConfigError(f"{where}: captions of tars are their .txt members; set captions: txt")
    if not (splits or lists or shares):
        splits = ("train",)
    chosen = splits_of("pictures", base, splits, lists or {}, shares or {}, seed, (tars or images,)).chosen
    suffixes = (image_suffix,) if isinstance(image_suffix, str) else tuple(image_suffix)
    options = Options(images, tars, suffixes, captions, missing_caption)
    return PicturesSource(base, options, chosen, title or base.name)


class PicturesSource(Reopened):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and lists the files again."""

    name = "pictures"
    label_fields: tuple[Field, ...] = ()
    file_entries = ("pictures", "names_and_sizes_sha256")

    def __init__(self, root: Path, options: Options, chosen: Mapping[str, Chosen | None], title: str) -> None:
        self.root, self.options, self.chosen, self.title = root, options, dict(chosen), title
        self.splits = tuple(chosen)
        self.item_axis = "sentence" if options.captions else "view"
        in_a_table = options.captions not in ("", BESIDE)
        self._table = read_table(root / options.captions) if in_a_table else {}
        self._lock = Lock()
        self._listings: dict[str, Mapping[str, Found]] = {}

    def keys(self, split: str) -> list[str]:
        """Names of the pictures without suffix; of tars, the tar's and the sample's."""
        return list(self._listing(split))

    def counts(self, split: str) -> dict[str, int]:
        """Pictures; with captions also `refs`, one a picture, and `sentences`, as many where each has one."""
        count = len(self._listing(split))
        return {"images": count, "refs": count, "sentences": count} if self.options.captions else {"images": count}

    def load(self, split: str, key: str) -> Example:
        """Reject: the picture cannot be read, or has no caption."""
        found = self._listing(split).get(key)
        if found is None:
            raise SourceError(f"{self.root}: split {split} has no picture {key!r}")
        picture = _picture(found)
        meta = {"file_name": found.name, "height": picture.height, "width": picture.width}
        if not self.options.captions:
            return Example(key, picture, meta)
        sentences = self._captions(found)
        return Example(key, picture, meta, sentences, ((0, len(sentences)),))

    def files_of(self, split: str, key: str) -> dict[str, Path] | None:
        """The picture, and the text file beside it; None of tars."""
        found = self._listing(split)[key]
        if found.path is None:
            return None
        files = {found.path.name: found.path}
        beside = found.path.with_suffix(".txt")
        return files | ({beside.name: beside} if self.options.captions == BESIDE else {})

    def identity(self, split: str) -> dict[str, Any]:
        """Options, the captions of a table, and a hash of the names and sizes of all pictures of the split."""
        digest = hashlib.sha256()
        for found in self._listing(split).values():
            digest.update(f"{found.name}\t{found.size}\n".encode())
        options = self.options
        identity: dict[str, Any] = {
            "name": self.name,
            "split": split,
            "tars": bool(options.tars),
            "captions": options.captions,
            "missing_caption": options.missing_caption,
            "pictures": len(self._listing(split)),
            "names_and_sizes_sha256": digest.hexdigest(),
        }
        if self._table:
            identity["captions_sha256"] = hashlib.sha256(json.dumps(sorted(self._table.items())).encode()).hexdigest()
        return identity

    def card(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "origin": "Pictures of a user.",
            "licence": "not stated: whoever built this set knows",
            "terms": "those of the pictures it was made from; decoding their latents shows them again",
            "url": "",
            "splits": {split: {} for split in self.splits},
        }

    def _captions(self, found: Found) -> tuple[str, ...]:
        where = f"picture {found.name}"
        if self._table:
            sentences = self._table.get(found.name, ())
        elif found.tar is not None:
            sentences = lines_of(found.tar.read(found.text), where) if found.text else ()
        else:
            assert found.path is not None
            beside = found.path.with_suffix(".txt")
            try:
                sentences = lines_of(contents(beside), str(beside))
            except FileNotFoundError:
                sentences = ()
            except OSError as error:
                raise Reject(f"{where}: its caption {beside} cannot be read: {error}") from error
        if sentences or self.options.missing_caption == "empty":
            return sentences or ("",)
        raise Reject(f"{where} has no caption; missing_caption: empty keeps such pictures with an empty one")

    def _listing(self, split: str) -> Mapping[str, Found]:
        """By record key. SourceError: unknown split, missing folder or tars, or no picture in them."""
        if split not in self.chosen:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._listings:
                found = self._in_tars(split) if self.options.tars else self._in_folder(split)
                choice = self.chosen[split]
                names = choice.stems(sorted(found), ("", self.options.suffixes), split) if choice else list(found)
                if absent := [name for name in names if name not in found]:
                    raise SourceError(f"split {split}: its list names {absent[0]!r}, which is no picture here")
                self._listings[split] = {key_of(name): found[name] for name in names}
            return self._listings[split]

    def _in_folder(self, split: str) -> dict[str, Found]:
        folder, pattern = folder_and_pattern(self.root, self.options.images.replace("{split}", split))
        files = files_below(folder, self.options.suffixes, split, pattern=pattern)
        if not files:
            where = f"{folder} that {pattern} matches" if pattern else str(folder)
            raise SourceError(f"split {split}: no picture in {where}; expected {', '.join(self.options.suffixes)}")
        return {stem: Found(stem, size, path) for stem, (path, size) in sorted(files.items())}

    def _in_tars(self, split: str) -> dict[str, Found]:
        pattern = self.options.tars.replace("{split}", split)
        folder, below = folder_and_pattern(self.root, pattern)
        paths = sorted(folder.glob(below)) if below else [folder] if folder.is_file() else []
        found: dict[str, Found] = {}
        for path in paths:
            tar, stem = TarMembers(path), path.relative_to(self.root).as_posix().partition(".")[0]
            for sample, members in tar.samples().items():
                image = next((members[s[1:]] for s in self.options.suffixes if s[1:] in members), None)
                if image is not None:
                    name = f"{stem}/{sample}"
                    found[name] = Found(name, image.size, tar=tar, image=image, text=members.get(BESIDE))
        if not found:
            what = f"{len(paths)} tars, and no picture in them" if paths else "no such file"
            raise SourceError(f"split {split}: {self.root / pattern}: {what}")
        return found


def _picture(found: Found) -> Image.Image:
    if found.tar is not None and found.image is not None:
        return load_payload(found.tar.read(found.image), f"picture {found.tar.path}: {found.image.name}")
    assert found.path is not None
    return load_picture(found.path)
