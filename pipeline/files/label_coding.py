"""A label file of one's own: which number stands in every pixel, and which class that number is.

Owns the four codings and the declared tables. Every value of a file must be declared, as a class or as ignored: what is
not is a Reject that names it, since a value that nobody declared is a mistake in the file or in the declaration, and
either would be trained silently. Labels of published datasets are stricter and faster, `label_png`'s.

    index        the value of a grey picture of 1 to 16 bits, the index of a palette, an integer .npy; RGB whose three
                 channels are equal counts as grey
    colour       the colour of an RGB picture or a palette, exactly
    red          the red channel: COCO panoptic's two-channel form has the category there
    ade20k_full  red // 10 * 256 + green: the *_seg.png of the full ADE20K
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from pipeline.files.label_png import IGNORE
from pipeline.files.npy_values import read_npy
from pipeline.files.readable import Readable, opened
from shards.errors import ConfigError, Reject

FORMS = ("index", "colour", "red", "ade20k_full")

_LOSSLESS = ("PNG", "BMP", "TIFF", "GIF", "PPM")
_GREY_16 = ("I;16", "I;16B", "I;16L", "I")
_SHOWN = 4  # undeclared values a message names
_PNG_BITS, _PNG_COLOUR = 24, 25  # offsets in the header
_STRETCHED = {1: 1, 2: 85, 4: 17}  # what Pillow multiplies the values of narrow grey PNGs by


@dataclass(frozen=True)
class LabelCoding:
    """Reads label files: `coding(path)` is uint8 [H, W], classes from 0 and IGNORE.

    Args:
        form: one of FORMS.
        class_of: the class of every declared value, or IGNORE; colours as `packed` numbers.
        names: of the classes, for messages.
    """

    form: str
    class_of: Mapping[int, int]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(f"coding is {self.form!r}; expected one of {', '.join(FORMS)}")
        if not 1 <= len(self.names) <= IGNORE:
            raise ConfigError(f"{len(self.names)} classes; a set holds 1 to {IGNORE} of them, {IGNORE} is no class")

    def __call__(self, path: Readable) -> np.ndarray:
        """Reject: no such file, damaged, lossy, of another form, or with a value that is not declared."""
        values = read_values(path, self.form)  # int32 [H, W]
        known, stored = self._table
        at = np.searchsorted(known, values).clip(max=len(known) - 1)
        strange = known[at] != values
        if strange.any():
            raise Reject(self._undeclared(path, values[strange]))
        return stored[at]

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        known = sorted(self.class_of)
        return np.array(known, np.int32), np.array([self.class_of[value] for value in known], np.uint8)

    def _undeclared(self, path: Readable, values: np.ndarray) -> str:
        found, counts = np.unique(values, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:_SHOWN]
        shown = ", ".join(f"{self._spelled(int(found[k]))} in {counts[k]} pixels" for k in most)
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        what = "colour" if self.form == "colour" else "value"
        declared = ", ".join(
            f"{self._spelled(value)} {'ignored' if index == IGNORE else self.names[index]}"
            for value, index in sorted(self.class_of.items())[:8]
        )
        blurred = len(found) > 2 * len(self.class_of)
        advice = (
            "So many look like the in-between values of a resized or lossy copy: take the original labels"
            if blurred
            else f"Declare every {what}, as a class or as ignored, or repair the file"
        )
        declared += ", ..." if len(self.class_of) > 8 else ""
        return f"label {path}: {what} {shown}{more} {_is(len(found))} not declared; declared: {declared}. {advice}"

    def _spelled(self, value: int) -> str:
        return str(unpacked(value)) if self.form == "colour" else str(value)


def packed(colour: Sequence[int]) -> int:
    """One number for a colour (r, g, b)."""
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def unpacked(number: int) -> tuple[int, int, int]:
    return number >> 16, number >> 8 & 255, number & 255


def read_values(path: Readable, form: str) -> np.ndarray:
    """The number of every pixel of a label file, int32 [H, W]; see the module. Reject: it cannot be read as such."""
    if path.suffix.lower() == ".npy":
        return _array(path, form)
    try:
        with opened(path) as file, Image.open(file) as label:
            if label.format not in _LOSSLESS:
                raise Reject(
                    f"label {path} is a {label.format}, which changes values when it is saved; expected a lossless "
                    f"format: {', '.join(_LOSSLESS)} or .npy. Export the labels again"
                )
            return _index(label, path) if form == "index" else _channels(label, path, form)
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(f"label {path} does not exist") from error
    except Exception as error:  # on broken bytes, Pillow's readers raise whatever their parsing meets
        raise Reject(f"label {path} cannot be decoded: {error}") from error


def _index(label: Image.Image, path: Readable) -> np.ndarray:
    if label.mode in ("P", "1", *_GREY_16):
        return np.asarray(label).astype(np.int32)
    if label.mode == "L":
        return np.asarray(label).astype(np.int32) // _stretch(path)
    if label.mode in ("RGB", "RGBA", "LA"):
        channels = np.asarray(_opaque(label, path))  # [H, W, 3]
        if (channels == channels[..., :1]).all():
            return channels[..., 0].astype(np.int32)
        raise Reject(
            f"label {path} is a coloured picture ({label.mode}), and coding: index reads one value a pixel. Declare "
            "coding: colour, and the colour of every class in colours or in the class file"
        )
    raise Reject(f"label {path} is of Pillow mode {label.mode}; expected grey of 1 to 16 bits, a palette, or RGB")


def _channels(label: Image.Image, path: Readable, form: str) -> np.ndarray:
    if label.mode not in ("P", "RGB", "RGBA", "L", "LA", "1"):
        raise Reject(f"label {path} is of Pillow mode {label.mode}; coding: {form} reads 8 bits a channel, RGB")
    red, green, blue = (channel.astype(np.int32) for channel in np.moveaxis(np.asarray(_opaque(label, path)), 2, 0))
    if form == "red":
        return red
    return red // 10 * 256 + green if form == "ade20k_full" else red << 16 | green << 8 | blue


def _opaque(label: Image.Image, path: Readable) -> Image.Image:
    """As RGB; a label that is transparent somewhere does not say what is there."""
    if label.mode in ("RGBA", "LA") and label.getchannel("A").getextrema()[0] != 255:
        raise Reject(f"label {path} has transparent pixels; save it without an alpha channel")
    return label.convert("RGB")


def _stretch(path: Readable) -> int:
    with opened(path) as file:
        header = file.read(26)
    grey_png = header.startswith(b"\x89PNG\r\n\x1a\n") and header[_PNG_COLOUR] == 0
    return _STRETCHED.get(header[_PNG_BITS], 1) if grey_png else 1


def _array(path: Readable, form: str) -> np.ndarray:
    if form != "index":
        raise Reject(f"label {path} is an array, and coding: {form} reads the channels of a picture; set coding: index")
    try:
        values = read_npy(path)
    except FileNotFoundError as error:
        raise Reject(f"label {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise Reject(f"label {path} cannot be read as an array: {error}") from error
    if values.ndim != 2 or values.dtype.kind not in "iub" or not values.size:
        raise Reject(f"label {path} is {values.dtype} {list(values.shape)}; expected whole numbers [H, W]")
    if abs(int(values.max())) >= 2**31 or int(values.min()) < -(2**31):
        raise Reject(f"label {path} holds values beyond 32 bits; expected class indices")
    return values.astype(np.int32)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
