"""Label files of one's own: every coding, values that nobody declared, and files that are no labels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.files.label_coding import LabelCoding, packed, read_values, unpacked
from shards.errors import ConfigError, Reject

VALUES = np.array([[0, 1, 3], [2, 3, 0]])
ROAD, SKY = (128, 64, 128), (70, 130, 180)


def saved(folder: Path, pixels: np.ndarray, name: str = "a.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def indices(classes: int = 4) -> LabelCoding:
    return LabelCoding("index", {k: k for k in range(classes)} | {255: 255}, tuple("abcdefgh"[:classes]))


def coloured() -> LabelCoding:
    return LabelCoding("colour", {packed(ROAD): 0, packed(SKY): 1, packed((0, 0, 0)): 255}, ("road", "sky"))


def test_grey_palette_wide_and_array_labels_of_the_same_values_are_the_same(tmp_path: Path) -> None:
    grey = VALUES.astype(np.uint8)
    palette = Image.fromarray(grey, "P")
    palette.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    palette.save(tmp_path / "palette.png", bits=4)
    np.save(tmp_path / "array.npy", VALUES)
    files = [
        saved(tmp_path, grey, "grey.png"),
        saved(tmp_path, VALUES.astype(np.uint16), "wide.png"),
        saved(tmp_path, np.repeat(grey[..., None], 3, axis=2), "copy.png"),
        saved(tmp_path, grey, "grey.bmp"),
        saved(tmp_path, grey, "grey.tif"),
        tmp_path / "palette.png",
        tmp_path / "array.npy",
    ]
    for file in files:
        assert np.array_equal(indices()(file), VALUES), file.name


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_fewer_bits_is_not_stretched(bits: int, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes([0b10000000])  # the first pixel is the highest bit, the rest 0
    header = struct.pack(">IIBBBBB", 8 // bits, 1, bits, 0, 0, 0, 0)
    payload = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(payload)
    assert read_values(tmp_path / "a.png", "index").tolist() == [[2 ** (bits - 1)] + [0] * (8 // bits - 1)]


def test_colours_are_read_exactly_also_from_a_palette(tmp_path: Path) -> None:
    pixels = np.array([[ROAD, SKY, (0, 0, 0)]], np.uint8)
    assert coloured()(saved(tmp_path, pixels)).tolist() == [[0, 1, 255]]
    Image.fromarray(pixels).quantize(colors=3).save(tmp_path / "p.png")
    assert coloured()(tmp_path / "p.png").tolist() == [[0, 1, 255]]
    assert unpacked(packed(SKY)) == SKY


def test_the_full_ade20k_and_the_two_channel_panoptic_form(tmp_path: Path) -> None:
    ade = LabelCoding("ade20k_full", {401: 0, 1831: 1, 0: 255}, ("car", "person"))
    assert ade(saved(tmp_path, np.array([[(15, 145, 2), (71, 39, 1), (0, 0, 0)]], np.uint8))).tolist() == [[0, 1, 255]]
    red = LabelCoding("red", {200: 0, 0: 255}, ("rug",))
    assert red(saved(tmp_path, np.array([[(200, 7, 0), (0, 0, 0)]], np.uint8))).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("coding", "pixels", "match"),
    [
        (
            indices(),
            np.array([[9, 9, 0]], np.uint8),
            r"a\.png: value 9 in 2 pixels is not declared; declared: 0 a",
        ),
        (coloured(), np.array([[ROAD, (1, 2, 3)]], np.uint8), r"colour \(1, 2, 3\) in 1 pixels is not declared"),
        (coloured(), np.arange(60, dtype=np.uint8).reshape(1, 20, 3), "take the original labels"),
        (indices(), np.array([[ROAD, SKY]], np.uint8), "is a coloured picture .*Declare coding: colour"),
        (indices(), np.array([[(1, 1, 1, 0)]], np.uint8), "has transparent pixels"),
    ],
)
def test_what_is_not_declared_is_named(coding: LabelCoding, pixels: np.ndarray, match: str, tmp_path: Path) -> None:
    with pytest.raises(Reject, match=match):
        coding(saved(tmp_path, pixels))


def test_lossy_missing_damaged_and_other_files_are_rejects(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="is a JPEG, which changes values"):
        indices()(saved(tmp_path, np.zeros((8, 8), np.uint8), "a.jpg"))
    with pytest.raises(Reject, match=r"none\.png does not exist"):
        indices()(tmp_path / "none.png")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(Reject, match="cannot be decoded"):
        indices()(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(Reject, match=r"is float64 \[2, 2\]; expected whole numbers \[H, W\]"):
        indices()(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(Reject, match="cannot be read as an array"):
        indices()(tmp_path / "b.npy")
    with pytest.raises(Reject, match="set coding: index"):
        coloured()(tmp_path / "a.npy")


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of index, colour"):
        LabelCoding("rgb", {0: 0}, ("a",))
    with pytest.raises(ConfigError, match="256 classes; a set holds 1 to 255"):
        LabelCoding("index", {}, tuple(map(str, range(256))))
