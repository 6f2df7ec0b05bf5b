"""Pictures in tars, with or without captions: samples of img2dataset and WebDataset, never unpacked.

A sample with a picture is a record; its key is the tar's name and the sample's. Which those are is `tar_listing`'s,
where a tar's members lie `pipeline.files.tars`'. Workers of a build get what the driver has listed, and open the tars
of their own shards alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from urllib.parse import unquote

from pipeline.example import Example
from pipeline.files.photos import load_payload
from pipeline.files.tars.index import Member
from pipeline.files.tars.places import TarFile
from pipeline.files.tars.reading import TarReader
from pipeline.sources.pairs.splits import Chosen
from pipeline.sources.pictures.captions import Captions
from pipeline.sources.pictures.records import card_of, counts_of, record_of
from pipeline.sources.pictures.tar_listing import Listed, listed, picture_of
from shards.contract.schema import Field
from shards.errors import SourceError

Sample = Mapping[str, Member]


class PicturesInTars:
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and what it has listed, without keys."""

    name = "pictures"
    travels = True
    label_fields: tuple[Field, ...] = ()
    file_entries = ("pictures", "names_and_sizes_sha256")

    def __init__(
        self,
        reader: TarReader,
        pattern: str,
        suffixes: tuple[str, ...],
        captions: Captions,
        chosen: Mapping[str, Chosen | None],
        title: str,
    ) -> None:
        self.reader, self.pattern, self.suffixes, self.captions = reader, pattern, suffixes, captions
        self.chosen, self.title, self.splits = dict(chosen), title, tuple(chosen)
        self.item_axis = "sentence" if captions else "view"
        self._lock = Lock()
        self._listed: dict[str, Listed] = {}

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_lock"}
        return state | {"_listed": {split: replace(one, keys=None) for split, one in self._listed.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = Lock()

    def keys(self, split: str) -> list[str]:
        """The tar's name and the sample's, in the order of the tars and in theirs."""
        keys = self._of(split).keys
        if keys is None:  # it came from elsewhere without them
            with self._lock:
                self._listed[split] = self._list(split)
            keys = self._listed[split].keys
        return list(keys or ())

    def counts(self, split: str) -> dict[str, int]:
        return counts_of(self._of(split).pictures, bool(self.captions))

    def load(self, split: str, key: str) -> Example:
        """Reject: the picture cannot be read, or has no caption."""
        name, tar, sample = self._sample(split, key)
        image, caption = self._members(sample)
        where = f"picture {self.reader.shown(tar)}: {image.name}"
        payloads = self.reader.read(tar, [image, *([caption] if caption else [])])
        picture = load_payload(payloads[0], where)
        if not self.captions:
            return record_of(key, name, picture, None)
        found = self.captions.read(payloads[1], f"{self.reader.shown(tar)}: {caption.name}") if caption else ()
        return record_of(key, name, picture, self.captions.kept(found, where))

    def files_of(self, split: str, key: str) -> dict[str, InTar]:
        """The picture, and what its caption says: of JSON the caption alone, since the rest is not stored."""
        _, tar, sample = self._sample(split, key)
        image, caption = self._members(sample)
        both = (image, *([caption] if caption else []))
        return {member.name: InTar(self.reader, tar, both, place, self.captions) for place, member in enumerate(both)}

    def identity(self, split: str) -> dict[str, Any]:
        """Options, and a hash of the names and sizes of all pictures of the split."""
        found = self._of(split)
        return {
            "name": self.name,
            "split": split,
            "tars": True,
            "captions": self.captions.said,
            "missing_caption": self.captions.missing,
            "pictures": found.pictures,
            "names_and_sizes_sha256": found.sha256,
        }

    def notices(self, split: str) -> list[str]:
        """How much the tars hold, and what of it will be missing."""
        return list(self._of(split).notices)

    def card(self) -> dict[str, Any]:
        return card_of(self.title, self.splits)

    def _members(self, sample: Sample) -> tuple[Member, Member | None]:
        """The picture and its caption."""
        image = picture_of(sample, self.suffixes)
        assert image is not None, "only samples with a picture have a key"
        return image, sample.get(self.captions.beside) if self.captions else None

    def _sample(self, split: str, key: str) -> tuple[str, TarFile, Sample]:
        """Its name, its tar and its members. A sample's name may have folders, as a tar's may."""
        name, tars = unquote(key), self._of(split).tars
        at = name.find("/")
        while at > 0:
            tar = tars.get(name[:at])
            sample = self.reader.samples(tar).get(name[at + 1 :]) if tar else None
            if tar and sample and picture_of(sample, self.suffixes):
                return name, tar, sample
            at = name.find("/", at + 1)
        raise SourceError(f"{self.reader.place}: split {split} has no picture {key!r}")

    def _of(self, split: str) -> Listed:
        """SourceError: unknown split, or as from `listed`."""
        if split not in self.chosen:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._listed:
                self._listed[split] = self._list(split)
            return self._listed[split]

    def _list(self, split: str) -> Listed:
        pattern = self.pattern.replace("{split}", split)
        return listed(self.reader, pattern, self.suffixes, self.captions.beside, self.chosen[split], split)


@dataclass(frozen=True, eq=False)
class InTar:
    """A member of a tar as a `pipeline.example.Inside`. `both` are the members of its record, which are read at once;
    it is the one at `place`."""

    reader: TarReader
    tar: TarFile
    both: tuple[Member, ...]
    place: int
    captions: Captions

    @property
    def state(self) -> str:
        """Of the tar, and where in it: nothing is read for it."""
        member = self.both[self.place]
        return f"{self.tar.stamp} {self.tar.n_bytes} {member.offset} {member.size} {member.check}"

    def read_bytes(self) -> bytes:
        payload = self.reader.read(self.tar, self.both)[self.place]
        if self.place == 0 or not self.captions.key:
            return payload
        return json.dumps(self.captions.read(payload, self.both[self.place].name)).encode()
