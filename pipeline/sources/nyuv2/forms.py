"""The two official forms of NYUv2 behind one face: which pictures a split has, and one of them with its depth.

Owns keys, the check of the root folder, and what each form says about a picture. Leaves the .mat itself to `mat`,
lists and pairs to `pairs.depths`, their places to `folders`, classes and everything else a Source is to `source`.
Both forms are thread-safe and pickle as their arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from PIL import Image

from pipeline.example import Inside
from pipeline.reopened import Reopened
from pipeline.sources.nyuv2.folders import FOLDERS, LISTS_ADVICE, UNIT, key_of
from pipeline.sources.nyuv2.mat import DEPTHS, MAT_FILE, FrameNames, LabeledMat, black_border, read_splits
from pipeline.sources.pairs.depths import Pair, load_pair, read_list
from shards.contract.schema import Field
from shards.errors import SourceError
from shards.storage.atomic import sha256_file

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture. The class rules look at `folder` and `file_name`, which both forms have."""

    picture: np.ndarray | Image.Image  # uint8 [H, W, 3], or of Pillow's mode RGB
    depth: np.ndarray | bytes  # float32 [H, W] metres, or a 16-bit PNG in millimetres
    folder: str
    file_name: str
    where: str  # for messages
    facts: dict[str, Any]  # for meta


class Form(Protocol):
    """One way to find pictures and depth on disk."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> Field: ...

    def keys(self, split: str) -> list[str]:
        """SourceError: the folder is not of this form, or the split does not exist."""
        ...

    def frame(self, split: str, key: str) -> Frame:
        """Reject: this picture or its depth cannot be used. SourceError: the split has no such key."""
        ...

    @property
    def file_entries(self) -> tuple[str, ...]: ...

    def files_of(self, split: str, key: str) -> Mapping[str, Path | Inside]:
        """What belongs to one record alone."""
        ...

    def identity(self, split: str) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class MatFrame:
    """A frame of the .mat as a `pipeline.example.Inside`."""

    form: MatForm
    number: int

    @property
    def state(self) -> str:
        return self.form.state

    def read_bytes(self) -> bytes:
        return self.form.content(self.number)


class MatForm(Reopened):
    """The labelled .mat. Key: frame number counted from 0, in 5 digits, as in the published extraction."""

    name = "mat"
    file_entries = ("sha256",)  # of the .mat, which follows from its frames, and of the splits, from which the keys do

    def __init__(self, root: Path, depth: str, border: str, mat: str, splits: str) -> None:
        self.root, self.depth, self.border = root, depth, border
        self.paths = {"mat": root / mat, "splits": root / splits}
        unit = f"metres, 0 = no measurement ({DEPTHS[depth]} of the .mat)"
        self.label = Field("depth", "npy", "float32", ("H", "W"), unit=unit)
        self._file = LabeledMat(self.paths["mat"], depth)
        self._lock = Lock()
        self._splits: dict[str, dict[str, int]] | None = None  # split -> key -> frame number
        self._sha256: dict[str, str] = {}

    def keys(self, split: str) -> list[str]:
        return list(self._numbers(split))

    def frame(self, split: str, key: str) -> Frame:
        numbers = self._numbers(split)
        if key not in numbers:
            raise _no_such_key(self.root, split, key, numbers)
        number = numbers[key]
        names = self._file.names()[number]
        image, depth_m = self._file.frame(number)
        if self.border == "black":
            image = black_border(image)
        facts = {
            "frame": number,
            "depth_name": f"{names.room}/{FrameNames.png(number)}",
            "scene": names.scene,
            "raw_rgb": names.raw_rgb,
            "raw_depth": names.raw_depth,
        }
        where = f"frame {number} of {self.paths['mat']}"
        return Frame(image, depth_m, names.room, FrameNames.jpg(number), where, facts)

    def files_of(self, split: str, key: str) -> dict[str, MatFrame]:
        """The frame: all records are parts of one file."""
        return {"frame": MatFrame(self, self._numbers(split)[key])}

    @property
    def state(self) -> str:
        """Hash of the .mat."""
        return self._hashes()["mat"]

    def content(self, number: int) -> bytes:
        return self._file.content(number)

    def identity(self, split: str) -> dict[str, Any]:
        """Hashes of both files; the first call reads the whole .mat, a few seconds."""
        self._numbers(split)
        return {"depth": self.depth, "border": self.border, "sha256": self._hashes()}

    def _hashes(self) -> dict[str, str]:
        with self._lock:
            if not self._sha256:
                self._sha256 = {name: sha256_file(path) for name, path in self.paths.items()}
            return dict(self._sha256)

    def _numbers(self, split: str) -> dict[str, int]:
        _check_split(split)
        with self._lock:
            if self._splits is None:
                _check_root(self.root, self.paths.values(), self.name)
                splits = read_splits(self.paths["splits"], len(self._file))
                self._splits = {name: {f"{number:05d}": number for number in part} for name, part in splits.items()}
            return self._splits[split]


class FolderForm(Reopened):
    """JPEG and PNG pairs named by a list. Key: `<folder>-<file>` of the picture, without its suffix."""

    name = "folders"
    file_entries = ()
    label = Field("depth", "png", unit=f"uint16 {UNIT}, 0 = no measurement")

    def __init__(self, root: Path, lists: Mapping[str, str]) -> None:
        self.root, self.lists = root, dict(lists)
        self._lock = Lock()
        self._pairs: dict[str, Mapping[str, Pair]] = {}

    def keys(self, split: str) -> list[str]:
        return list(self._pairs_of(split))

    def frame(self, split: str, key: str) -> Frame:
        pairs = self._pairs_of(split)
        if key not in pairs:
            raise _no_such_key(self.root, split, key, pairs)
        pair = pairs[key]
        where = f"{self.lists[split]} line {pair.line}"
        folder = self.root / FOLDERS[split]
        picture, depth_png = load_pair(folder / pair.image, folder / pair.depth, where, UNIT)
        scene = pair.image.parent.name
        facts: dict[str, Any] = {"depth_name": str(pair.depth), "scene": scene}
        if pair.focal_px is not None:
            facts["focal_px"] = pair.focal_px
        return Frame(picture, depth_png, scene, pair.image.name, where, facts)

    def files_of(self, split: str, key: str) -> dict[str, Path]:
        pair, folder = self._pairs_of(split)[key], self.root / FOLDERS[split]
        return {pair.image.as_posix(): folder / pair.image, pair.depth.as_posix(): folder / pair.depth}

    def identity(self, split: str) -> dict[str, Any]:
        """Hash of the list. The pictures are not hashed: the list names them."""
        self._pairs_of(split)
        return {"sha256": {"list": sha256_file(self.root / self.lists[split])}}

    def _pairs_of(self, split: str) -> Mapping[str, Pair]:
        _check_split(split)
        with self._lock:
            if split not in self._pairs:
                path = self.root / self.lists[split]
                _check_root(self.root, (self.root / FOLDERS[split], path), self.name)
                self._pairs[split] = read_list(path, key_of, LISTS_ADVICE).pairs
            return self._pairs[split]


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise SourceError(f"NYUv2 has no split {split!r}; expected one of {', '.join(SPLITS)}")


def _no_such_key(root: Path, split: str, key: str, known: Iterable[str]) -> SourceError:
    return SourceError(f"{root}: split {split} has no image {key!r}; keys look like {next(iter(known), 'nothing')}")


def _check_root(root: Path, wanted: Iterable[Path], form: str) -> None:
    missing = [str(path.relative_to(root)) for path in wanted if not path.exists()]
    if not missing:
        return
    found = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())[:8] if root.is_dir() else []
    if form == "folders" and MAT_FILE in found:
        advice = f"It holds {MAT_FILE}: set form=mat, or extract the test split with jobs/extract_nyuv2.py."
    elif form == "mat" and "nyu_depth_v2/" in found:
        advice = "It holds nyu_depth_v2/: set form=folders."
    else:
        advice = "Put them there, or name other files in the source's options."
    raise SourceError(
        f"{root}: is not a NYUv2 folder of form={form}; missing {', '.join(missing)}. "
        f"Found: {', '.join(found) or 'nothing'}. {advice}"
    )
