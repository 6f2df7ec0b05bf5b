"""A depth file of one's own: the numbers in it, whatever they mean.

    PNG, TIFF, PGM   grey of 16 or 32 bits, or float; 8 bits are refused, since such maps hold no distance but a picture
    PFM              float, rows bottom-up; the size of its scale is no factor, its sign is the byte order
    .npy             [H, W] or [H, W, 1], numbers
    .h5, .hdf5       a dataset by its key
    EXR, .dpt        not read by any library kept here: refused, with what to do

Owns reading and its rejects. Units, missing values and geometry are `pipeline.sources.depth_folders.meaning`'s.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from pipeline.files.hdf5_parts import check_read, own_dataset
from pipeline.files.npy_values import read_npy
from pipeline.files.readable import Readable, opened
from shards.errors import Reject

HDF5 = (".h5", ".hdf5")
_UNREAD = {".exr": "OpenEXR", ".dpt": "Sintel's .dpt", ".mat": "MATLAB", ".bin": "raw numbers"}
_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


def read_depth(path: Readable, key: str = "") -> np.ndarray:
    """[H, W] as stored: uint16 or int32 of pictures, the dtype of arrays.

    Args:
        key: of the dataset in an HDF5 file.

    Raises:
        Reject: no such file, damaged, of 8 bits, of a format that is not read, or not one number a pixel.
    """
    suffix = path.suffix.lower()
    if suffix in _UNREAD:
        raise Reject(
            f"depth {path} is {_UNREAD[suffix]}, which is not read here; save it as .npy, as a float TIFF, or as a "
            "16-bit PNG with units_per_metre"
        )
    if suffix in HDF5 and isinstance(path, Path):
        return _checked(read_hdf5(path, key), path)
    return _array(path) if suffix == ".npy" else _picture(path)


def read_hdf5(path: Path, key: str) -> np.ndarray:
    """A dataset of an HDF5 file as it is. Reject: no such file or key; the message lists the keys there are."""
    try:
        opened(path).close()  # it is a plain file, which HDF5 does not look at
        with h5py.File(path, "r") as file:
            found = own_dataset(file, key) if key else None
            if found is None:
                keys: list[str] = []
                file.visit(lambda name: keys.append(name) if isinstance(file[name], h5py.Dataset) else None)
                raise Reject(f"{path} has no dataset {key!r}; found {', '.join(keys[:8]) or 'none'}. Name one of them")
            check_read(found, found.shape)
            return np.asarray(found[()])
    except FileNotFoundError as error:
        raise Reject(f"{path} does not exist") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise Reject(f"{path} cannot be read as HDF5: {error}") from error


def datasets_of(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """(shape, dtype) of every dataset of an HDF5 file, by its key. Reject: it cannot be read."""
    found: dict[str, tuple[tuple[int, ...], np.dtype]] = {}

    def note(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            found[name] = (entry.shape, entry.dtype)

    try:
        opened(path).close()  # it is a plain file, which HDF5 does not look at
        with h5py.File(path, "r") as file:
            file.visititems(note)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise Reject(f"{path} cannot be read as HDF5: {error}") from error
    return found


def _picture(path: Readable) -> np.ndarray:
    try:
        with opened(path) as file, Image.open(file) as picture:
            if picture.mode not in _MODES:
                raise Reject(
                    f"depth {path} is a {picture.format} of Pillow mode {picture.mode}, 8 bits a channel: a picture of "
                    "depth and no distances. Expected 16 bits or float; models that output such maps (MiDaS, Depth "
                    "Anything) give relative depth, which has no unit"
                )
            return _checked(np.array(picture), path)
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(f"depth {path} does not exist") from error
    except Exception as error:  # on broken bytes, Pillow's readers raise whatever their parsing meets
        raise Reject(f"depth {path} cannot be decoded: {error}") from error


def _array(path: Readable) -> np.ndarray:
    try:
        found = read_npy(path)
    except FileNotFoundError as error:
        raise Reject(f"depth {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise Reject(f"depth {path} cannot be read as an array: {error}") from error
    return _checked(found, path)


def _checked(values: np.ndarray, path: Readable) -> np.ndarray:
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[..., 0] if values.shape[2] == 1 else values[0]
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iuf":
        raise Reject(f"depth {path} is {values.dtype} {list(values.shape)}; expected numbers [H, W]")
    if values.dtype == np.uint8:
        raise Reject(f"depth {path} has 8 bits: a picture of depth and no distances; expected 16 bits or float")
    return values
