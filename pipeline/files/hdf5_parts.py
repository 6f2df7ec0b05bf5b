"""Parts of an HDF5 file that lie in the file itself, and are no larger than what they are for.

HDF5 lets a file lead elsewhere: links to objects of other files, datasets whose bytes are in any file of the machine,
and virtual ones put together from many. It also lets a dataset claim any size without holding a byte. Owns refusing all
that; what a dataset means is the reader's. All of it raises ValueError, which readers turn into their own error.
"""

from __future__ import annotations

import math

import h5py

MOST_BYTES = 1 << 30  # of one read, or of one compressed block


def own_dataset(file: h5py.File, key: str) -> h5py.Dataset | None:
    """The dataset of a key with / between its parts; None: there is none. ValueError: it is not in this file."""
    here: object = file
    for part in key.strip("/").split("/"):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{key!r} is a link to another place ({type(link).__name__}); save a file of its own")
        assert isinstance(here, h5py.Group)  # it gave the link
        here = here[part]
    return checked(here) if isinstance(here, h5py.Dataset) else None


def checked(dataset: h5py.Dataset) -> h5py.Dataset:
    """A dataset whose bytes are in its own file. ValueError: they are not, or one of its blocks is larger than memory
    should be."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} keeps its numbers in other files; save a file of its own")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MOST_BYTES:
        raise ValueError(f"{dataset.name} has blocks of {list(dataset.chunks)}, too large to read; save it anew")
    return dataset


def check_read(dataset: h5py.Dataset, shape: tuple[int, ...], most_bytes: int = MOST_BYTES) -> None:
    """ValueError if reading a part of this shape takes more memory than `most_bytes`."""
    n_bytes = math.prod(shape) * dataset.dtype.itemsize
    if n_bytes > most_bytes:
        raise ValueError(f"{dataset.name} is {list(shape)} of {dataset.dtype}, {n_bytes:,} bytes; up to {most_bytes:,}")
