"""The one reader of pictures: a file, or its bytes, as 8-bit RGB. Sources, views and `Predictor` read through it.

A picture is decoded into Pillow's own memory, from where resizing reads it (`load_picture`); `read_picture` makes an
array of it.

Owns what becomes of every kind of picture that Pillow opens:

    EXIF orientation   applied, unless something of the stored size belongs to the picture (`Partner`)
    8 bits, grey/RGB   as they are, grey three times
    1 bit, palette     as the colours that are shown
    alpha              laid on white, as viewers show it, where a pixel is not opaque
    CMYK, YCbCr        Pillow's plain conversion; colour profiles are not applied
    16 bits            the high byte, so that the file's whole range is kept; refused where nothing is above 12 bits,
                       since the file's range is then not what it says
    float, 32 bits     refused: no range is stated anywhere

and the limit on size. Whatever cannot be read is a Reject that names the file. Which label belongs to which picture is
the sources'.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.files.readable import Readable, opened
from shards.errors import Reject
from shards.geometry.view import Size

Orientation = Literal["upright", "stored"]

MAX_PIXELS = 178_956_970  # where Pillow stops too; 0.5 GB as RGB
BITS_12 = 4096  # levels of cameras whose 16-bit files use a sixteenth of the range

_ORIENTATION_TAG = 0x0112
_PLAIN = ("1", "L", "RGB", "CMYK", "YCbCr")
_WITH_ALPHA = ("LA", "RGBA", "PA", "La", "RGBa")
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")

# Pillow warns from half of its limit on, which is no news where the limit itself is an error of ours.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Partner:
    """What belongs to a picture and must have its size: a label, a depth map, an annotation.

    Args:
        says: opens what a message says of its size: "its label x.png is".
        size_px: (h, w).
        orientation: which form of a turned picture is meant where both fit, or neither is known to.
    """

    says: str
    size_px: Size
    orientation: Orientation = "upright"


def load_photo(path: Path, size_px: Size, image_id: int) -> Image.Image:
    """A picture whose size a COCO-like annotation file states: sizes there are of the stored pixels.

    Raises Reject: as `load_picture`. `image_id` is for messages.
    """
    return load_picture(path, f"image {image_id}: {path}", Partner("the annotations say", size_px, "stored"))


def load_picture(path: Readable, what: str = "", partner: Partner | None = None) -> Image.Image:
    """A decoded picture of mode RGB.

    Args:
        what: the file in messages; "picture <path>" by default.

    Raises:
        Reject: no such file, no picture, damaged, of a kind or size that is not read, or not of the partner's size.
    """
    what = what or f"picture {path}"
    try:
        file = opened(path)
    except FileNotFoundError as error:
        raise Reject(f"{what} does not exist") from error
    except OSError as error:
        raise Reject(f"{what} cannot be read: {error}") from error
    with file:
        return _decode(file, what, partner)


def load_payload(payload: bytes, what: str, partner: Partner | None = None) -> Image.Image:
    """`load_picture` of a file's bytes."""
    return _decode(io.BytesIO(payload), what, partner)


def read_picture(path: Readable, what: str = "", partner: Partner | None = None) -> np.ndarray:
    """`load_picture` as uint8 [H, W, 3]."""
    return np.array(load_picture(path, what, partner))


def decode_picture(payload: bytes, what: str, partner: Partner | None = None) -> np.ndarray:
    """`load_payload` as uint8 [H, W, 3]."""
    return np.array(load_payload(payload, what, partner))


def _decode(file: IO[bytes], what: str, partner: Partner | None) -> Image.Image:
    try:
        with Image.open(file) as photo:
            # Opening reads the header only: what does not fit costs no decoding.
            _check_pixels(photo, what)
            turn = _turn(photo)
            turned = _is_turned((photo.height, photo.width), turn, what, partner)
            picture = _rgb(photo, what)
            return Image.fromarray(np.ascontiguousarray(_upright(np.asarray(picture), turn))) if turned else picture
    except Reject:
        raise
    except Exception as error:  # on broken bytes, Pillow's readers raise whatever their parsing meets
        raise Reject(f"{what} cannot be decoded: {_reason(error)}") from error


def _check_pixels(photo: Image.Image, what: str) -> None:
    if photo.width * photo.height > MAX_PIXELS:
        raise Reject(_too_large(what, photo.height, photo.width))


def _is_turned(stored: Size, turn: int, what: str, partner: Partner | None) -> bool:
    """Whether the EXIF orientation `turn` of a picture of `stored` size is applied."""
    upright = stored[::-1] if turn >= 5 else stored
    if partner is None:
        return turn > 1
    fits = {"upright": upright == partner.size_px, "stored": stored == partner.size_px}
    h, w = partner.size_px
    if not any(fits.values()):
        shown = f" shown upright (EXIF orientation {turn})" if turn > 1 else ""
        height, width = upright if turn > 1 else stored
        raise Reject(
            f"{what} is {height} x {width}{shown}, {partner.says} {h} x {w} (height x width); they must be of one size"
        )
    if turn == 1 or partner.orientation == "stored":
        return turn > 1 and not fits["stored"]
    if not fits["upright"]:
        raise Reject(
            f"{what} is shown upright as {upright[0]} x {upright[1]} (EXIF orientation {turn}), but {partner.says} "
            f"{h} x {w}, the size of the stored pixels: it would be drawn on another picture than the one people see. "
            "Declare orientation: stored if it was made on the stored pixels, or save the picture upright"
        )
    return True


def _turn(photo: Image.Image) -> int:
    """The EXIF orientation: 1 as stored, 2 to 8 mirrored or turned, from 5 on with height and width exchanged."""
    if photo.format == "TIFF":
        return 1  # Pillow has turned it already
    try:
        found = photo.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error):
        return 1  # no EXIF block that can be read; if the picture is damaged too, decoding says so
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """The stored pixels [H, W, 3] of EXIF orientation 2 to 8 as they are meant to be seen."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = slice(None, None, -1 if turn in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if turn in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def _rgb(photo: Image.Image, what: str) -> Image.Image:
    mode = photo.mode
    if mode in _GREY_16 or (mode == "I" and photo.format == "PNG"):  # what Pillow has called a 16-bit grey PNG
        return Image.fromarray(_high_byte(np.asarray(photo), what))
    if mode in _WITH_ALPHA or (mode in (*_PLAIN, "P") and "transparency" in photo.info):
        return _on_white(photo.convert("RGBA"))
    if mode == "RGB":
        photo.load()
        return photo  # `convert` would copy
    if mode in _PLAIN or mode == "P":
        return photo.convert("RGB")
    raise Reject(
        f"{what} is of Pillow mode {mode}, whose range is stated nowhere; expected 8 or 16 bits a channel, grey, RGB, "
        "CMYK or a palette. Save it as an 8-bit PNG or JPEG"
    )


def _high_byte(levels: np.ndarray, what: str) -> np.ndarray:
    """Levels of 16 bits [H, W] as uint8 [H, W, 3]."""
    brightest = int(levels.max(initial=0))
    if 0 < brightest < BITS_12:
        raise Reject(
            f"{what} is a 16-bit grey picture whose brightest level is {brightest} of 65535: it holds 12 bits or fewer "
            "and would be shown almost black. Save it with its own range spread over 8 bits"
        )
    return np.repeat((levels.astype(np.uint32) >> 8).astype(np.uint8)[..., None], 3, axis=2)


def _on_white(photo: Image.Image) -> Image.Image:
    if photo.getchannel("A").getextrema()[0] == 255:
        return photo.convert("RGB")
    white = Image.new("RGBA", photo.size, "white")
    return Image.alpha_composite(white, photo).convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {MAX_PIXELS:,} pixels. Cut it into parts, or make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "its bytes are no picture of a kind that Pillow knows"  # Pillow's words hold an address in memory
    return f"{error}" or type(error).__name__


def _too_large(what: str, height: int, width: int) -> str:
    return (
        f"{what} is {height} x {width}, {height * width:,} pixels; up to {MAX_PIXELS:,} are read. Cut it into "
        "parts, or make it smaller"
    )
