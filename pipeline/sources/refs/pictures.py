"""Everything of a Source (see `pipeline.example`) that follows from pictures, refs and a way to draw a target.

Owns keys, counts, notices, loading and its rejects. `refer_file` and `refer_folder` say what their files mean (`read`,
`mask_of`) and what identifies them.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.example import Example, Source
from pipeline.files.photos import Partner, load_picture
from pipeline.files.readable import Readable
from pipeline.reopened import Reopened
from pipeline.sources.refs.content import Content, RefEntry, RefPicture
from pipeline.sources.refs.masks import BadSegmentation, Rle
from pipeline.sources.refs.records import UsableRef, example_of
from shards.contract.schema import Field
from shards.errors import Reject, SourceError
from shards.geometry.view import Size


class RefPictures(Reopened, Source):
    """Thread-safe. Nothing is read before the first call of a method.

    Args:
        folder: of the pictures.
        title: for the set's README.
    """

    item_axis = "sentence"
    label_fields: tuple[Field, ...] = ()  # masks ride in meta as RLE

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self._lock = Lock()
        self._content: Content | None = None

    @abstractmethod
    def read(self) -> Content:
        """The annotation files, whole. SourceError: they are not what they should be."""

    @abstractmethod
    def mask_of(self, entry: RefEntry, size_px: Size) -> Rle:
        """The mask of everything a ref means, empty if it means nothing. BadSegmentation: it cannot be drawn."""

    def file_of(self, picture: RefPicture) -> Readable:
        """Where its pixels are."""
        return self.folder / picture.file_name

    def files_of(self, split: str, key: str) -> dict[str, Path] | None:
        """The picture, and the files that hold its masks; None where they are rows of a table."""
        picture = self.pictures(split).get(key)
        path = self.file_of(picture) if picture is not None and picture.file_name else None
        if picture is None or not isinstance(path, Path):
            return None
        return {picture.file_name: path, **self.mask_files_of(picture)}

    def mask_files_of(self, picture: RefPicture) -> dict[str, Path]:
        """Files that hold masks of a picture, by name."""
        return {}

    @property
    def content(self) -> Content:
        with self._lock:
            if self._content is None:
                self._content = self.read()
            return self._content

    @property
    def splits(self) -> Sequence[str]:  # type: ignore[override]
        return tuple(self.content.pictures)

    def keys(self, split: str) -> list[str]:
        """Names of the pictures without suffix, or their ids, ascending."""
        return list(self.pictures(split))

    def counts(self, split: str) -> dict[str, int]:
        pictures = self.pictures(split).values()
        refs = [ref for picture in pictures for ref in picture.refs]
        return {"images": len(pictures), "refs": len(refs), "sentences": sum(len(ref.sentences) for ref in refs)}

    def notices(self, split: str) -> list[str]:
        faults = [fault for picture in self.pictures(split).values() for fault in picture.faults]
        lines = list(self.content.notices.get(split, ()))
        return lines + ([f"{len(faults)} entries cannot be used (first: {faults[0]})"] if faults else [])

    def load(self, split: str, key: str) -> Example:
        """A ref is left out whose mask cannot be drawn. Reject: no ref is left, or the picture is missing, damaged or
        not of the annotated size."""
        picture = self.pictures(split).get(key)
        if picture is None:
            raise SourceError(
                f"split {split} has no picture {key!r}; keys look like {next(iter(self.pictures(split)))}"
            )
        if not picture.refs:
            raise Reject("; ".join(picture.faults))
        path = self.file_of(picture)
        partner = Partner("its annotations say", picture.size_px, "stored") if picture.size_px else None
        image = load_picture(path, partner=partner)
        usable, left_out = [], list(picture.faults)
        for ref in picture.refs:
            try:
                usable.append(UsableRef(ref.sentences, self.mask_of(ref, (image.height, image.width)), ref.meta))
            except BadSegmentation as error:
                left_out.append(f"{ref.name}: {error}")
        return example_of(key, image, {"file_name": picture.file_name, **picture.meta}, usable, left_out)

    def pictures(self, split: str) -> dict[str, RefPicture]:
        """By key. SourceError: no such split, or no picture in it."""
        found = self.content.pictures
        if split not in found:
            raise SourceError(f"there is no split {split!r}; found {', '.join(found) or 'none'}")
        if not found[split]:
            raise SourceError(f"split {split} has no entry; found {', '.join(s for s in found if found[s]) or 'none'}")
        return dict(found[split])

    def card(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "origin": "Pictures, sentences and masks of a user.",
            "licence": "not stated: whoever built this set knows",
            "terms": "those of the pictures and sentences it was made from",
            "url": "",
            "splits": {split: {} for split in self.splits},
        }


def names_and_sizes(folder: Path, names: Iterable[str]) -> str:
    """A hash of the names and sizes of files of a folder; their contents are not read."""
    digest = hashlib.sha256()
    for name in names:
        try:
            size = (folder / name).stat().st_size
        except OSError:  # its record is rejected with the reason
            size = None
        digest.update(f"{name}\t{size}\n".encode())
    return digest.hexdigest()
