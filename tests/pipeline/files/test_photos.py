"""The one reader of pictures: every kind of file, turned ones, limits, and damage."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.files import photos
from pipeline.files.photos import Partner, decode_picture, load_photo, read_picture
from shards.errors import Reject

ROOT = Path(__file__).resolve().parents[3]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
TURN = 0x0112  # the EXIF tag of the orientation


def encoded(picture: Image.Image, form: str = "PNG", orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[TURN] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, form, **({"exif": exif} if orientation != 1 else {}), **options)
    return buffer.getvalue()


def photo(orientation: int = 1) -> bytes:
    return encoded(Image.fromarray(PIXELS), orientation=orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_read_as_it_is_shown(orientation: int, tmp_path: Path) -> None:
    shown = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(photo(orientation)))))
    assert np.array_equal(decode_picture(photo(orientation), "x"), shown)
    (tmp_path / "a.png").write_bytes(photo(orientation))
    assert np.array_equal(read_picture(tmp_path / "a.png"), shown)


def test_a_tiff_is_turned_once() -> None:
    payload = encoded(Image.fromarray(PIXELS), "TIFF", orientation=6)
    assert np.array_equal(decode_picture(payload, "x"), np.rot90(PIXELS, -1))


def test_a_label_of_the_upright_size_gets_the_upright_picture() -> None:
    assert decode_picture(photo(6), "x", Partner("its label is", (5, 3))).shape == (5, 3, 3)


def test_a_label_of_the_stored_size_is_refused_until_it_is_declared() -> None:
    with pytest.raises(
        Reject, match=r"x is shown upright as 5 x 3 \(EXIF orientation 6\), but its label is 3 x 5.*stored"
    ):
        decode_picture(photo(6), "x", Partner("its label is", (3, 5)))
    assert np.array_equal(decode_picture(photo(6), "x", Partner("its label is", (3, 5), "stored")), PIXELS)


def test_annotations_of_the_stored_size_keep_the_orientation_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(photo(6))
    assert np.array_equal(np.asarray(load_photo(tmp_path / "a.png", (3, 5), 7)), PIXELS)
    assert load_photo(tmp_path / "a.png", (5, 3), 7).size == (3, 5)  # they state the upright size
    with pytest.raises(Reject, match=r"image 7: .* is 5 x 3 shown upright .*, the annotations say 9 x 9"):
        load_photo(tmp_path / "a.png", (9, 9), 7)


def test_16_bit_grey_keeps_its_range() -> None:
    levels = np.linspace(0, 65535, 15).astype(np.uint16).reshape(3, 5)
    found = decode_picture(encoded(Image.fromarray(levels)), "x")
    assert np.array_equal(found, np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=2))
    assert len(np.unique(found)) == 15  # clipped, all but one would be white


def test_16_bits_that_hold_12_are_refused_and_black_is_black() -> None:
    with pytest.raises(Reject, match="brightest level is 4095 of 65535"):
        decode_picture(encoded(Image.fromarray(np.full((3, 5), 4095, np.uint16))), "x")
    assert not decode_picture(encoded(Image.fromarray(np.zeros((3, 5), np.uint16))), "x").any()


def test_grey_palette_bits_and_cmyk_become_the_colours_that_are_shown() -> None:
    picture = Image.fromarray(PIXELS)
    for mode in ("1", "L", "P", "CMYK"):
        converted = picture.convert(mode)
        payload = encoded(converted, "TIFF" if mode == "CMYK" else "PNG")
        assert np.array_equal(decode_picture(payload, mode), np.array(converted.convert("RGB"))), mode


def test_transparent_pixels_are_laid_on_white_and_opaque_ones_kept() -> None:
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    assert np.array_equal(decode_picture(encoded(Image.fromarray(rgba)), "x"), PIXELS)
    rgba[0, 0, 3] = 0
    found = decode_picture(encoded(Image.fromarray(rgba)), "x")
    assert found[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(found[1:], PIXELS[1:])
    palette = Image.fromarray(np.zeros((2, 2), np.uint8), "P")
    palette.putpalette([10, 20, 30])
    assert (decode_picture(encoded(palette, transparency=0), "x") == 255).all()


def test_a_picture_of_floats_is_refused_by_name() -> None:
    with pytest.raises(Reject, match="x is of Pillow mode F, whose range is stated nowhere"):
        decode_picture(encoded(Image.fromarray(np.ones((3, 5), np.float32)), "TIFF"), "x")


def header_only(height: int, width: int) -> bytes:
    """A PNG that says it is large, without its pixels."""
    payload = bytearray(encoded(Image.fromarray(PIXELS)))
    payload[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    payload[29:33] = zlib.crc32(payload[12:29]).to_bytes(4, "big")
    return bytes(payload)


def test_a_picture_beyond_the_limit_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Reject, match=r"x cannot be decoded: it has more than 178,956,970 pixels"):
        decode_picture(header_only(20_000, 10_000), "x")
    monkeypatch.setattr(photos, "MAX_PIXELS", 14)
    with pytest.raises(Reject, match="x is 3 x 5, 15 pixels; up to 14 are read"):
        decode_picture(photo(), "x")


def test_a_large_picture_below_the_limit_prints_no_warning(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(photo())
    code = (
        "import sys, pathlib; from PIL import Image; Image.MAX_IMAGE_PIXELS = 10\n"  # 15 pixels: Pillow would warn
        "from pipeline.files.photos import read_picture; print(read_picture(pathlib.Path(sys.argv[1])).shape)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("(3, 5, 3)\n", "")


def test_what_is_missing_or_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(Reject, match=r"picture .*none\.jpg does not exist"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(Reject, match="cannot be read"):
        read_picture(tmp_path)
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(Reject, match=r"picture .*page\.jpg cannot be decoded"):
        read_picture(tmp_path / "page.jpg")


@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:.*TIFF", "ignore:.*truncated", "ignore:.*tag")
@given(
    cut=st.integers(0, 10**6),
    at=st.integers(0, 10**6),
    flip=st.integers(1, 255),
    form=st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]),
)
def test_broken_bytes_are_a_reject_or_a_picture_and_nothing_else(cut: int, at: int, flip: int, form: str) -> None:
    payload = bytearray(encoded(Image.fromarray(PIXELS), form, orientation=6))
    payload[at % len(payload)] ^= flip
    broken = bytes(payload[: max(cut % (2 * len(payload)), 1)])
    with contextlib.suppress(Reject):
        assert decode_picture(broken, "x").dtype == np.uint8
