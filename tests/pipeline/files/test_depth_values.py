"""Depth files of every format, and those that hold no distance."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from pipeline.files.depth_values import read_depth
from shards.errors import Reject

METRES = np.array([[1.5, 2.25, 0.0], [3.0, 4.0, 5.0]], np.float32)


def pfm(values: np.ndarray, scale: float) -> bytes:
    kind = "<f4" if scale < 0 else ">f4"
    return f"Pf\n{values.shape[1]} {values.shape[0]}\n{scale}\n".encode() + values[::-1].astype(kind).tobytes()


def test_every_format_gives_the_numbers_of_the_file(tmp_path: Path) -> None:
    Image.fromarray((METRES * 1000).astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(METRES).save(tmp_path / "a.tiff")
    np.save(tmp_path / "a.npy", METRES)
    np.save(tmp_path / "column.npy", METRES[..., None])  # DIODE's
    (tmp_path / "little.pfm").write_bytes(pfm(METRES, -0.0039))
    (tmp_path / "big.pfm").write_bytes(pfm(METRES, 1.0))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["depth"] = METRES.astype(np.float16)
    assert np.array_equal(read_depth(tmp_path / "a.png"), METRES * 1000)
    for name in ("a.tiff", "a.npy", "column.npy", "little.pfm", "big.pfm"):
        assert np.array_equal(read_depth(tmp_path / name), METRES), name
    assert np.array_equal(read_depth(tmp_path / "a.h5", "depth"), METRES)


def test_what_is_no_depth_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(Reject, match=r"grey\.png is a PNG of Pillow mode L, 8 bits a channel: .*relative depth"):
        read_depth(tmp_path / "grey.png")
    np.save(tmp_path / "grey.npy", np.zeros((2, 2), np.uint8))
    with pytest.raises(Reject, match="has 8 bits"):
        read_depth(tmp_path / "grey.npy")
    np.save(tmp_path / "three.npy", np.zeros((2, 2, 3)))
    with pytest.raises(Reject, match=r"is float64 \[2, 2, 3\]; expected numbers \[H, W\]"):
        read_depth(tmp_path / "three.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(Reject, match="cannot be read as an array"):
        read_depth(tmp_path / "objects.npy")
    for name, kind in (("a.exr", "OpenEXR"), ("a.dpt", "Sintel's")):
        with pytest.raises(Reject, match=rf"is {kind}.*, which is not read here; save it as"):
            read_depth(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.h5", "a.pfm", "a.tiff"])
def test_missing_and_damaged_files_are_rejects(name: str, tmp_path: Path) -> None:
    with pytest.raises(Reject, match=rf"{name} does not exist"):
        read_depth(tmp_path / name, "depth")
    (tmp_path / name).write_bytes(b"\x89PNG nothing")
    with pytest.raises(Reject, match=rf"{name} cannot be"):
        read_depth(tmp_path / name, "depth")


def test_a_wrong_key_lists_those_there_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/metres"] = METRES
    for key in ("depth", "group", ""):
        with pytest.raises(Reject, match=rf"has no dataset '{key}'; found group/metres"):
            read_depth(tmp_path / "a.h5", key)
