"""Reads `nyu_depth_v2_labeled.mat` and `splits.mat`, the labelled half of NYUv2.

The .mat is MATLAB v7.3, which is HDF5 behind a header of 512 bytes. h5py sees MATLAB's axes reversed:
    images             [N, 3, W, H] uint8     RGB
    rawDepths, depths  [N, W, H] float32      metres: as projected (0 = no measurement), and in-painted
    scenes, sceneTypes [1, N] references      to texts of [L, 1] UTF-16 codes, e.g. kitchen_0004 and kitchen
splits.mat is MATLAB v5: trainNdxs and testNdxs, [n, 1], counted from 1. Facts:
docs/methods/data_layouts.md#labelled-file.

Owns the layout and its checks. An open file belongs to one process and is read by one thread at a time, because HDF5
is neither picklable nor safe across a fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import h5py
import numpy as np

from pipeline.files.hdf5_parts import check_read, checked, own_dataset
from pipeline.files.mat5 import numbers_in
from pipeline.files.photos import MAX_PIXELS
from pipeline.reopened import Reopened
from shards.errors import Reject, SourceError

MAT_FILE, SPLITS_FILE = "nyu_depth_v2_labeled.mat", "splits.mat"
DEPTHS = {"raw": "rawDepths", "filled": "depths"}
_SPLIT_NAMES = {"train": "trainNdxs", "test": "testNdxs"}
BORDER_PX = (7, 7, 6, 8)  # top, left, bottom, right: rows 7:474 and columns 7:632 of 480 x 640 remain
_MOST_SPLITS_BYTES = 1 << 20  # the dataset's has 3,000
_MOST_TEXT_BYTES = 1 << 16
_OF_HDF5 = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError, UnicodeError)
_TEXTS = ("scenes", "sceneTypes", "rawRgbFilenames", "rawDepthFilenames")


@dataclass(frozen=True)
class FrameNames:
    """What the file says about one frame in words."""

    scene: str  # kitchen_0004
    room: str  # kitchen
    raw_rgb: str
    raw_depth: str

    @staticmethod
    def jpg(index: int) -> str:
        """Name of the picture in the published extraction; `index` counts from 0."""
        return f"rgb_{index:05d}.jpg"

    @staticmethod
    def png(index: int) -> str:
        return f"sync_depth_{index:05d}.png"


class LabeledMat(Reopened):
    """The file, opened at the first use. `depth` is "raw" or "filled". Thread-safe; pickles as its arguments.

    Every method raises SourceError if the file is not what its name says.
    """

    def __init__(self, path: Path, depth: str = "raw") -> None:
        self.path, self.depth = path, depth
        self._lock = Lock()
        self._opened: tuple[int, h5py.File] | None = None  # process id, file
        self._names: tuple[FrameNames, ...] | None = None

    def __len__(self) -> int:
        with self._lock:
            return self._dataset("images").shape[0]

    def names(self) -> tuple[FrameNames, ...]:
        """Of every frame, in order."""
        with self._lock:
            if self._names is None:
                columns = [self._texts(name) for name in _TEXTS]
                self._names = tuple(FrameNames(*texts) for texts in zip(*columns, strict=True))
            return self._names

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(image uint8 [H, W, 3], depth in metres float32 [H, W]) of a frame counted from 0.

        Raises Reject when the frame cannot be read or its depth holds no measurement or something that is none.
        """
        with self._lock:
            images, depths = self._dataset("images"), self._dataset(DEPTHS[self.depth])
            try:
                image, depth_m = images[index], depths[index]  # [3, W, H], [W, H]
            except _OF_HDF5 as error:
                raise Reject(f"frame {index} of {self.path} cannot be read: {error}") from error
        if not np.isfinite(depth_m).all() or depth_m.min() < 0:
            raise Reject(f"frame {index} of {self.path}: {DEPTHS[self.depth]} holds negative or infinite depth or NaN")
        if not depth_m.any():
            raise Reject(f"frame {index} of {self.path}: {DEPTHS[self.depth]} holds no measurement, all are 0")
        return np.ascontiguousarray(image.transpose(2, 1, 0)), np.ascontiguousarray(depth_m.T)

    def content(self, index: int) -> bytes:
        """All of a frame that is read. Reject: it cannot be."""
        names = self.names()[index]
        with self._lock:
            try:
                pixels = [self._dataset(name)[index] for name in ("images", DEPTHS[self.depth])]
            except _OF_HDF5 as error:
                raise Reject(f"frame {index} of {self.path} cannot be read: {error}") from error
        return b"".join([f"{names}\n".encode(), *(one.tobytes() for one in pixels)])

    def _file(self) -> h5py.File:
        if self._opened is None or self._opened[0] != os.getpid():
            file = _open(self.path)
            try:
                with _said(self.path):
                    self._check_shapes(file)
            except SourceError:
                file.close()
                raise
            self._opened = (os.getpid(), file)
        return self._opened[1]

    def _dataset(self, name: str) -> h5py.Dataset:
        found = self._file()[name]
        assert isinstance(found, h5py.Dataset)  # _check_shapes has seen it
        return found

    def _check_shapes(self, file: h5py.File) -> None:
        wanted = ("images", DEPTHS[self.depth], *_TEXTS)
        found = {name: own_dataset(file, name) for name in wanted}
        missing = [name for name, dataset in found.items() if dataset is None]
        if missing:
            raise SourceError(
                f"{self.path}: lacks {', '.join(missing)}; found {', '.join(file)}. Expected {MAT_FILE}, the labelled "
                "dataset; the toolbox and the raw parts are other files"
            )
        datasets = {name: dataset for name, dataset in found.items() if dataset is not None}
        shapes = {name: tuple(dataset.shape) for name, dataset in datasets.items()}
        frames, *sides = shapes["images"] or (0,)
        if len(sides) != 3 or sides[0] != 3 or datasets["images"].dtype != np.uint8:
            raise SourceError(
                f"{self.path}: images is {list(shapes['images'])}; expected uint8 [N, 3, W, H], as h5py sees MATLAB's "
                "[H, W, 3, N]"
            )
        depth_name = DEPTHS[self.depth]
        if shapes[depth_name] != (frames, *sides[1:]):
            raise SourceError(
                f"{self.path}: {depth_name} is {list(shapes[depth_name])}, images are {list(shapes['images'])}; "
                "depth and image must have the same size and number"
            )
        if datasets[depth_name].dtype.kind != "f":
            raise SourceError(f"{self.path}: {depth_name} is {datasets[depth_name].dtype}; expected metres as floats")
        check_read(datasets["images"], tuple(sides), 3 * MAX_PIXELS)
        check_read(datasets[_TEXTS[0]], (frames,))
        for name in _TEXTS:
            if shapes[name] != (1, frames):
                raise SourceError(f"{self.path}: {name} is {list(shapes[name])}; expected [1, {frames}], one a frame")

    def _texts(self, name: str) -> list[str]:
        file = self._file()
        with _said(self.path):
            return [_text(file[reference], self.path) for reference in self._dataset(name)[0]]


def read_splits(path: Path, n_frames: int) -> dict[str, list[int]]:
    """Frames of "train" and "test" in the order of the file, counted from 0.

    Raises SourceError: not a MATLAB v5 file with trainNdxs and testNdxs, or numbers that cannot be frames of the .mat.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file; put {SPLITS_FILE}, which comes with the dataset, beside {MAT_FILE}")
    try:
        if (n_bytes := path.stat().st_size) > _MOST_SPLITS_BYTES:
            raise ValueError(f"it has {n_bytes:,} bytes")
        content = numbers_in(path.read_bytes(), _SPLIT_NAMES.values())
    except (ValueError, OSError) as error:
        raise SourceError(
            f"{path}: cannot be read as a MATLAB v5 file ({error}); expected the {SPLITS_FILE} of the dataset"
        ) from error
    splits: dict[str, list[int]] = {}
    for split, name in _SPLIT_NAMES.items():
        if name not in content:
            raise SourceError(f"{path}: holds no {name}; expected {', '.join(_SPLIT_NAMES.values())}")
        stored = content[name]
        if (stored != np.floor(stored)).any() or not np.isfinite(stored).all():
            raise SourceError(f"{path}: {name} is {stored.dtype}; expected whole numbers")
        numbers = [int(number) for number in stored]
        outside = [number for number in numbers if not 1 <= number <= n_frames]
        if outside:
            raise SourceError(
                f"{path}: {len(outside)} numbers of {name} are outside 1..{n_frames} (they count from 1), such as "
                f"{outside[0]}; the .mat holds {n_frames} frames. The two files do not belong together"
            )
        splits[split] = [number - 1 for number in numbers]
    shared = len(splits["train"]) + len(splits["test"]) - len({*splits["train"], *splits["test"]})
    if shared:
        raise SourceError(f"{path}: {shared} frames are named twice; a frame belongs to one split, once")
    return splits


def black_border(image: np.ndarray) -> np.ndarray:
    """A copy of the picture uint8 [H, W, 3] with the published margins black."""
    top, left, bottom, right = BORDER_PX
    content = (slice(top, image.shape[0] - bottom), slice(left, image.shape[1] - right))
    framed = np.zeros_like(image)
    framed[content] = image[content]
    return framed


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Whatever HDF5 meets in damaged bytes as a SourceError."""
    try:
        yield
    except _OF_HDF5 as error:
        raise SourceError(f"{path}: cannot be read as HDF5 ({error}); download it again") from error


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise SourceError(f"{path}: no such file; expected the labelled dataset, {MAT_FILE}")
    if not h5py.is_hdf5(path):
        with path.open("rb") as file:
            start = file.read(116)
        if start.startswith(b"MATLAB 5.0"):
            found = "a MATLAB v5 file"
            advice = "It was saved again by an older tool: take the original, or save it with -v7.3"
        else:
            found = f"no HDF5 (it starts with {start[:16]!r})"
            advice = "Download it again; a web page may have been saved in its place"
        raise SourceError(f"{path}: is {found}, expected MATLAB v7.3, which is HDF5. {advice}")
    with _said(path):
        return h5py.File(path, "r")


def _text(characters: h5py.Group | h5py.Dataset | h5py.Datatype, path: Path) -> str:
    """A MATLAB char array: UTF-16 codes. MATLAB marks the empty text, whose stored value is then its size."""
    if not isinstance(characters, h5py.Dataset):
        raise SourceError(f"{path}: a reference to {characters.name} where one to a text was expected")
    if characters.attrs.get("MATLAB_empty", 0):
        return ""
    check_read(checked(characters), characters.shape, _MOST_TEXT_BYTES)
    return "".join(chr(code) for code in np.ravel(characters[()]))
