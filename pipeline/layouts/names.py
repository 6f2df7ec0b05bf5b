"""What is common to the names of a picture and its label, found from the names themselves.

Owns the votes: every label is laid beside the pictures, what stands around the longest common part is counted, and what
pairs most files wins. Which files are read in the end is `pipeline.sources.pairs.matching`'s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice, takewhile
from pathlib import Path, PurePosixPath

from pipeline.files.trees import folders_below
from pipeline.sources.pairs.matching import stem_of
from pipeline.sources.pairs.paired import IMAGE_SUFFIXES

FILES = 100_000  # of a folder that are listed
_VOTERS, _NEAR, _TRIED = 40, 8, 12  # labels that vote; files beside one of the same folder; votes that are tried
_SEPARATORS = "_-. "
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Names:
    """What stands around the common part, and the common parts that both sides have, in order."""

    image_prefix: str
    image_suffix: str  # empty: any suffix of pictures
    label_prefix: str
    label_suffix: str
    stems: tuple[str, ...]

    @property
    def image_suffixes(self) -> tuple[str, ...]:
        return (self.image_suffix,) if self.image_suffix else IMAGE_SUFFIXES

    def label_of(self, stem: str) -> str:
        return _around(stem, self.label_prefix, self.label_suffix)

    def images_of(self, stem: str) -> list[str]:
        return [_around(stem, self.image_prefix, suffix) for suffix in self.image_suffixes]


def files_in(folder: Path) -> list[str]:
    """Names of the files below a folder, with / between folders, in order: of many, the first."""
    return sorted(islice(_walked(folder), FILES))


def _walked(folder: Path) -> Iterator[str]:
    """In order of names, folder by folder, so that the pictures and the labels of a large set are cut alike."""
    for at, names in folders_below(folder):
        yield from ((at / name).relative_to(folder).as_posix() for name in names if not name.startswith("."))


def same_names(images: Sequence[str], labels: Sequence[str], suffixes: Iterable[str]) -> Names | None:
    """Names that differ in their suffix alone, in two folders."""
    pictures = {_stem(name) for name in images if name.lower().endswith(IMAGE_SUFFIXES)}
    found = [
        Names("", "", "", suffix, tuple(sorted(pictures & {_stem(name) for name in labels if _ends(name, suffix)})))
        for suffix in suffixes
    ]
    best = max(found, key=lambda names: len(names.stems), default=None)
    return best if best and best.stems else None


def similar_names(images: Sequence[str], labels: Sequence[str], suffixes: Iterable[str]) -> Names | None:
    """Names in two folders that have a part in common."""
    pictures = [name for name in images if name.lower().endswith(IMAGE_SUFFIXES)]
    partners = [name for name in labels if any(_ends(name, suffix) for suffix in suffixes)]
    votes: Counter[tuple[str, str, str, str]] = Counter()
    for label in partners[:: max(len(partners) // _VOTERS, 1)]:
        for image in pictures[: 4 * _VOTERS]:
            if PurePosixPath(image).parent == PurePosixPath(label).parent:
                votes[_affixes(PurePosixPath(image).name, PurePosixPath(label).name)] += 1
    return _best(votes, pictures, partners)


def names_in_one_folder(files: Sequence[str], suffixes: Iterable[str], hints: Sequence[str]) -> Names | None:
    """Pictures and labels of one folder, told apart by their endings.

    Args:
        hints: words that an ending of a label holds, where suffixes alone do not say which is which.
    """
    allowed = tuple(suffixes)
    votes: Counter[tuple[str, str, str, str]] = Counter()
    for place, name in enumerate(files):
        for other in files[place + 1 : place + 1 + _NEAR]:
            for image, label in ((name, other), (other, name)):
                ends = _endings(image, label)
                if ends and ends[0].lower().endswith(IMAGE_SUFFIXES) and _is_label(ends, allowed, hints):
                    votes[("", ends[0], "", ends[1])] += 1
    return _best(votes, files, files, hints)


def _is_label(ends: tuple[str, str], suffixes: Sequence[str], hints: Sequence[str]) -> bool:
    """Whether the second ending is that of a label, and the first is not."""
    image, label = (end.lower() for end in ends)
    if not any(_ends("x" + label, suffix) for suffix in suffixes) or any(word in image for word in hints):
        return False
    named = any(word in label for word in hints)
    return named or (not label.endswith(IMAGE_SUFFIXES) or (label == ".png" and image != ".png"))


def _best(
    votes: Counter[tuple[str, str, str, str]], images: Sequence[str], labels: Sequence[str], hints: Sequence[str] = ()
) -> Names | None:
    """The names that pair most files; of several, those that say it, then the shortest."""
    tried = [_named(affixes, images, labels) for affixes, _ in votes.most_common(_TRIED)]
    found = [names for names in tried if names.stems]
    return max(found, key=lambda names: (len(names.stems), _says(names, hints), -len(_affix_text(names))), default=None)


def _named(affixes: tuple[str, str, str, str], images: Sequence[str], labels: Sequence[str]) -> Names:
    image_prefix, image_suffix, label_prefix, label_suffix = affixes
    pictures = {_common(name, image_prefix, image_suffix) for name in images}
    partners = {_common(name, label_prefix, label_suffix) for name in labels}
    stems = sorted(stem for stem in pictures & partners if stem is not None)
    return Names(image_prefix, image_suffix, label_prefix, label_suffix, tuple(stems))


def _common(name: str, prefix: str, suffix: str) -> str | None:
    folder, _, file = name.rpartition("/")
    stem = stem_of(file, prefix, (suffix,))
    return stem if stem is None or not folder else f"{folder}/{stem}"


def _affixes(image: str, label: str) -> tuple[str, str, str, str]:
    stem, partner = _stem(image), _stem(label)
    match = SequenceMatcher(None, stem, partner, autojunk=False).find_longest_match()
    core = stem[match.a : match.a + match.size].strip(_SEPARATORS)
    numbers = [number for number in _NUMBER.findall(stem) if number in _NUMBER.findall(partner)]
    core = max([core, *numbers], key=lambda text: (len(text), text.isdecimal()))  # im0 and disp0GT: 0, and not i
    if not core:
        return stem, "", partner, ""  # nothing in common: pairs nothing
    (before, _, after), (start, _, end) = stem.partition(core), partner.partition(core)
    return before, after + image[len(stem) :], start, end + label[len(partner) :]


def _endings(image: str, label: str) -> tuple[str, str] | None:
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(image, label, strict=False))
    common = "".join(letter for letter, _ in alike)
    common = common[: min(len(_stem(image)), len(_stem(label)))].rstrip(_SEPARATORS)  # .jpg and .json begin alike, too
    if not common or common.endswith("/"):
        return None
    return image[len(common) :], label[len(common) :]


def _says(names: Names, hints: Sequence[str]) -> bool:
    return any(word in names.label_suffix.lower() for word in hints)


def _affix_text(names: Names) -> str:
    return names.image_prefix + names.image_suffix + names.label_prefix + names.label_suffix


def _around(stem: str, prefix: str, suffix: str) -> str:
    folder, _, name = stem.rpartition("/")
    return f"{folder}/{prefix}{name}{suffix}" if folder else f"{prefix}{name}{suffix}"


def _stem(name: str) -> str:
    """Without its last suffix, `.nii.gz` and the like being two."""
    return PurePosixPath(name).with_suffix("").as_posix()


def _ends(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix)
