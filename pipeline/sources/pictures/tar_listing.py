"""Which pictures the tars of a split hold, in which order, and what is said of them before a build.

A sample with a picture is one, wherever its other members are. Everything here follows from the tars' indexes: no
picture is read. Memory is that of the keys, and of one tar at a time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from pipeline.files.tars.index import Member
from pipeline.files.tars.places import TarFile
from pipeline.files.tars.reading import TarReader
from pipeline.sources.pairs.matching import key_of
from pipeline.sources.pairs.splits import Chosen
from shards.errors import SourceError

_SHOWN, _COUNTED = 4, 1000  # suffixes
_ENDINGS = (".tar.gz", ".tar", ".tgz")


@dataclass(frozen=True)
class Listed:
    """The tars of a split by the names that begin their keys, and what all of them hold.

    Attributes:
        keys: of the records; None where only the driver has them.
        sha256: of the names and sizes of all pictures.
        notices: for a person, a line each.
    """

    tars: Mapping[str, TarFile]
    keys: tuple[str, ...] | None
    pictures: int
    sha256: str
    notices: tuple[str, ...]


def listed(
    reader: TarReader, pattern: str, suffixes: tuple[str, ...], beside: str, chosen: Chosen | None, split: str
) -> Listed:
    """Of the tars that a pattern matches.

    Args:
        suffixes: of pictures; of several in a sample the first of these.
        beside: suffix of a picture's caption, to count those without.
        chosen: which of the pictures belong to the split; None: all of them.

    Raises:
        SourceError: no tars, none of them holds a picture, one cannot be read, or two pictures have one name.
    """
    tars = reader.place.tars(pattern)
    where = f"split {split}: {reader.place}/{pattern}"
    if not tars:
        raise SourceError(f"{where}: no such file")
    named, found = _named(tars, where), _Found(beside)
    reader.make_indexes(tars)
    digest, keys = hashlib.sha256(), list[str]()
    sizes: dict[str, int] = {}  # where not all pictures are of the split
    for name, image in _pictures(reader, named, suffixes, found):
        if chosen is None:
            keys.append(key_of(name))
            digest.update(f"{name}\t{image.size}\n".encode())
        else:
            sizes[name] = image.size
    if not found.pictures:
        others = f". Their samples hold {found.shown()}: a sample's name ends at its first dot" if found.others else ""
        raise SourceError(f"{where}: {len(tars)} tars, and no picture in them, {', '.join(suffixes)}{others}")
    if chosen is not None:
        names = chosen.stems(sorted(sizes), ("", suffixes), split)
        if absent := [name for name in names if name not in sizes]:
            raise SourceError(f"split {split}: its list names {absent[0]!r}, which is no picture here")
        keys = [key_of(name) for name in names]
        for name in names:
            digest.update(f"{name}\t{sizes[name]}\n".encode())
    _check_once(named, keys, where)
    return Listed(named, tuple(keys), len(keys), digest.hexdigest(), tuple(found.lines(tars, reader)))


def picture_of(sample: Mapping[str, Member], suffixes: tuple[str, ...]) -> Member | None:
    """The member of a sample that is its picture."""
    return next((sample[suffix[1:].lower()] for suffix in suffixes if suffix[1:].lower() in sample), None)


@dataclass
class _Found:
    """What is counted while the tars are passed."""

    beside: str
    pictures: int = 0
    picture_bytes: int = 0
    without_caption: int = 0
    without_picture: int = 0
    others: Counter[str] = field(default_factory=Counter)  # suffixes of samples without a picture
    cut: list[tuple[TarFile, int]] = field(default_factory=list)

    def shown(self) -> str:
        """The suffixes that most samples without a picture have."""
        return ", ".join(f".{suffix}" for suffix, _ in self.others.most_common(_SHOWN))

    def lines(self, tars: list[TarFile], reader: TarReader) -> Iterator[str]:
        """For a person."""
        whole = _amount(sum(tar.n_bytes for tar in tars))
        yield f"{len(tars)} tars of {whole} hold {self.pictures} pictures of {_amount(self.picture_bytes)}"
        if self.without_picture:
            yield f"{self.without_picture} samples have no picture and are passed over; they hold {self.shown()}"
        if self.without_caption:
            yield f"{self.without_caption} pictures have no .{self.beside} beside them"
        if self.cut:
            tar, at = self.cut[0]
            yield (
                f"{len(self.cut)} tars are cut short, such as {reader.shown(tar)} at byte {at}: what stood behind that "
                "is missing; copy them again"
            )


def _pictures(
    reader: TarReader, tars: Mapping[str, TarFile], suffixes: tuple[str, ...], found: _Found
) -> Iterator[tuple[str, Member]]:
    """Names and pictures, in the order of the tars and in theirs."""
    for stem, tar in tars.items():
        index = reader.index(tar)
        if index.cut_at >= 0:
            found.cut.append((tar, index.cut_at))
        for sample, members in index.samples.items():
            image = picture_of(members, suffixes)
            if image is None:
                found.without_picture += 1
                if len(found.others) < _COUNTED:  # a name with dots can make each of them another one
                    found.others.update(members.keys())
                continue
            found.pictures += 1
            found.picture_bytes += image.size
            found.without_caption += bool(found.beside) and found.beside not in members
            yield f"{stem}/{sample}", image


def _amount(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _named(tars: list[TarFile], where: str) -> dict[str, TarFile]:
    """By their names without endings. SourceError: two have one name then."""
    found: dict[str, TarFile] = {}
    for tar in tars:
        ending = next((ending for ending in _ENDINGS if tar.name.lower().endswith(ending)), "")
        before = found.setdefault(tar.name[: len(tar.name) - len(ending)], tar)
        if before is not tar:
            raise SourceError(f"{where}: {before.name} and {tar.name} have the same name; remove one")
    return found


def _check_once(tars: Mapping[str, TarFile], keys: list[str], where: str) -> None:
    """SourceError: a key comes twice, which it only can where one tar is named like a folder of others."""
    folders = {name[:at] for name in tars for at, letter in enumerate(name) if letter == "/"}
    if folders.isdisjoint(tars):
        return
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise SourceError(f"{where}: {unquote(key)} is a sample of two tars; rename one of them")
        seen.add(key)
