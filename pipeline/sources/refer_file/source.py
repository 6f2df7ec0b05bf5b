"""One's own pictures, sentences and what they mean, in a JSON or JSONL file, by configuration alone.

Layout       <root>/<refs>         a list of entries, or one a line: {image, sentence(s) or text, and mask, polygon(s),
                                   segmentation, rle or box}; `{split}` in its name is replaced by the split's name
             <root>/<images>/      pictures, named by the entries; names may hold sub-folders
             <root>/<masks>/       masks, if entries name files
Record       one picture of a split with its entries, in the order of the file
Target       the union of all an entry names; an empty list is no target. Of a box it is the filled box: the model
             learns boxes, and is scored on them

    source: {name: refer_file, root: data/shelf, splits: [train, val]}
    source:
      {name: refer_file, root: data/shelf, refs: all.json, split_field: subset, splits: [train, test],
       box_form: xyxy, units: per_mille, fields: {sentences: question}}

Owns the options, the splits and what identifies the data. A wrong entry costs itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.files.entries import read_bytes
from pipeline.sources.refer_file.entries import TARGETS, entries_of, image_of, names_of, sentences_of, size_of, value_of
from pipeline.sources.refer_file.targets import Coordinates, Target, draw, target_of
from pipeline.sources.refs.content import Collected, Content, RefEntry, RefPicture
from pipeline.sources.refs.masks import Rle
from pipeline.sources.refs.pictures import RefPictures, names_and_sizes
from pipeline.sources.refs.splits import Splitting
from shards.errors import ConfigError, SourceError
from shards.geometry.view import Size


def build(
    root: str | Path,
    refs: str = "{split}.jsonl",
    splits: Sequence[str] = ("train", "val"),
    split_field: str = "",
    shares: Sequence[float] = (),
    seed: int = 0,
    images: str = "images",
    masks: str = "",
    box_form: str = "",
    units: str = "pixels",
    fields: Mapping[str, str] | None = None,
    title: str = "",
) -> ReferFileSource:
    """The source; nothing is read before the first call of a method.

    Args:
        root: folder that the others are relative to.
        refs: the file, or with `{split}` in it one file a split.
        splits: names of the splits.
        split_field: key of an entry that names its split, if all are in one file.
        shares: share of the pictures of each split, if nothing else says; all entries of a picture go together.
        seed: of the shares.
        images: folder of the pictures.
        masks: folder of mask files; empty: `root`.
        box_form: of boxes, xywh or xyxy; must be said if an entry has nothing but a box.
        units: of boxes and polygons: pixels, fraction (0 to 1) or per_mille (0 to 1000).
        fields: keys by what they hold, for files that call them otherwise: image, sentences, id, mask, rle,
            segmentation, polygon or box.
        title: for the set's README.

    Raises:
        ConfigError: an unknown value, or splits that are said twice or not at all.
    """
    splitting = Splitting(tuple(splits), "{split}" in refs, split_field, tuple(shares), seed)
    options = {"box_form": box_form, "units": units, "fields": dict(fields or {})}
    return ReferFileSource(Path(root), refs, splitting, images, masks, options, title)


class ReferFileSource(RefPictures):
    """A Source (see `pipeline.example`). Pickles as its options and reads the files again."""

    name = "refer_file"
    file_entries = ("pictures_sha256", "masks_sha256")

    def __init__(
        self,
        root: Path,
        refs: str,
        splitting: Splitting,
        images: str,
        masks: str,
        options: Mapping[str, Any],
        title: str,
    ) -> None:
        super().__init__(root / images, title or root.name)
        self.root, self.refs, self.splitting, self.images, self.masks = root, refs, splitting, images, masks
        self.options = options
        self.coordinates = Coordinates(options["box_form"], options["units"])
        self.names = names_of(options["fields"])

    @property
    def splits(self) -> Sequence[str]:  # type: ignore[override]
        return self.splitting.splits

    def identity(self, split: str) -> dict[str, Any]:
        """Options, the hash of the file, and hashes of the names and sizes of the pictures and the mask files."""
        pictures = self.pictures(split).values()
        targets = [ref.target for picture in pictures for ref in picture.refs]
        masks = [name for target in targets if target.kind == "mask" for name in target.parts]
        return {
            "name": self.name,
            "split": split,
            "refs": self.refs,
            "sha256": self.content.sha256[self.refs.replace("{split}", split)],
            **self.splitting.identity(),
            **self.options,
            "pictures_sha256": names_and_sizes(self.folder, [p.file_name for p in pictures if p.file_name]),
            "masks_sha256": names_and_sizes(self.root / self.masks, masks),
        }

    def read(self) -> Content:
        if not self.folder.is_dir():
            raise SourceError(f"{self.folder}: is not a folder; images= names that of the pictures, below {self.root}")
        collected = {split: Collected() for split in self.splits}
        sha256 = {}
        for file, split in self.splitting.files(self.refs):
            payload = read_bytes(self.root / file)
            sha256[file] = hashlib.sha256(payload).hexdigest()
            for name, entry in entries_of(payload, self.root / file):
                self._collect(collected, split, name, entry)
        notices = {split: pile.notices() for split, pile in collected.items()}
        for split, line in shared_pictures(collected):
            notices[split].append(line)
        return Content({split: pile.pictures() for split, pile in collected.items()}, notices, sha256)

    def mask_files_of(self, picture: RefPicture) -> dict[str, Path]:
        names = [name for ref in picture.refs if ref.target.kind == "mask" for name in ref.target.parts]
        return {f"masks/{name}": self.root / self.masks / name for name in names}

    def mask_of(self, entry: RefEntry, size_px: Size) -> Rle:
        return draw(entry.target, size_px, self.root / self.masks, self.coordinates)

    def _collect(self, collected: Mapping[str, Collected], split: str, name: str, entry: Any) -> None:
        """Add an entry to its picture, or its fault."""
        image = ""
        pile = collected[split or self.splits[0]]  # what names no picture or no split is counted with the first
        try:
            if isinstance(entry, SourceError):
                raise entry
            image = image_of(entry, self.names, name)
            if not split:
                chosen = self.splitting.of(entry, image, name)
                if chosen not in collected:
                    pile.note(f"entries are of the split {chosen!r}, which is none of splits={list(collected)}", name)
                    return
                pile = collected[chosen]
            sentences, faults = sentences_of(entry, self.names, name)
            target = self._target(entry, name)
            size_px = size_of(entry, name)
            known = pile.picture(image).size_px
            if size_px and known and size_px != known:
                raise SourceError(f"{name}: states {size_px} for {image}, an entry before it {known} (height, width)")
        except SourceError as error:
            pile.fault(image, str(error))
            return
        self._note(pile, name, entry, target)
        picture = pile.picture(image)
        picture.size_px = picture.size_px or size_px
        picture.faults += faults
        picture.refs.append(RefEntry(name, tuple(sentences), target, {"entry": name}))

    def _target(self, entry: Mapping[str, Any], name: str) -> Target:
        flag = entry.get("no_target")
        for kind in TARGETS:
            value = value_of(entry, kind, self.names, name)
            if value is not None:
                target = target_of(kind, value, name)
                drawn = target.kind in ("polygon", "box")  # run lengths and files may hold no pixel
                if flag is not None and (bool(target.parts) and drawn if flag else not target.parts):
                    raise SourceError(
                        f"{name}: no_target is {flag!r} and its {kind} {str(value)[:60]}; they contradict"
                    )
                if kind == "box" and target.parts and not self.coordinates.box_form:
                    raise ConfigError(
                        f"{name}: its target is the box {list(target.parts[0])}: say how boxes are written, "
                        "source.box_form=xywh (corner and size) or xyxy (two corners), and source.units"
                    )
                return target
        if flag:
            return Target("polygon", ())
        keys = ", ".join(key for kind in TARGETS for key in self.names[kind])
        raise SourceError(f"{name}: says no target; expected one of the keys {keys}; an empty list is no target")

    def _note(self, pile: Collected, name: str, entry: Mapping[str, Any], target: Target) -> None:
        identifier = next((entry[key] for key in self.names["id"] if entry.get(key) is not None), None)
        if identifier is not None:
            pile.note_id(str(identifier), name)
        if not target.parts:
            pile.note("entries have no target; their masks are empty", name)
        elif target.kind == "box":
            pile.note("entries point by a box; the filled box is their mask", name)


def shared_pictures(collected: Mapping[str, Collected]) -> Iterator[tuple[str, str]]:
    """(split, line) where pictures of a split are in an earlier one too."""
    before: dict[str, str] = {}
    for split, pile in collected.items():
        shared = [name for name in pile.by_file if name in before]
        if shared:
            yield split, f"{len(shared)} pictures are in another split too (first: {shared[0]}, in {before[shared[0]]})"
        for name in pile.by_file:
            before.setdefault(name, split)
