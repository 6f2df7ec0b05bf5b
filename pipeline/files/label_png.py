"""A segmentation label file: 8-bit class indices in, 8-bit class indices as a task reads them out.

Owns what counts as a label file and how its values map to classes. In a shard every label is a grey 8-bit PNG of the
picture's own size whose values are class indices from 0, and IGNORE where a pixel has no class. Which file belongs to
which picture is `pipeline.sources.pairs.labels`'.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from pipeline.files.readable import Readable, contents
from shards.errors import ConfigError, Reject

IGNORE = 255  # stored value of a pixel without a class, as in the published pipelines

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}


def counted(classes: int, zero_is_ignored: bool) -> tuple[int, ...]:
    """The class of every file value where classes are numbered on, for `read_label`.

    Args:
        zero_is_ignored: ADE20K's rule: 0 is no class and value k is class k - 1. Otherwise value k is class k.

    Raises:
        ConfigError: so many classes do not fit into 8 bits beside the ignored values.
    """
    most = IGNORE - zero_is_ignored
    if not 1 <= classes <= most:
        raise ConfigError(f"source: {classes} classes; 8-bit labels hold 1 to {most} of them, {IGNORE} is no class")
    return (IGNORE,) * zero_is_ignored + tuple(range(classes))


def read_label(path: Readable, class_of: tuple[int, ...]) -> np.ndarray:
    """The mapped label of a file, uint8 [H, W]: classes from 0, or IGNORE.

    Args:
        class_of: the class of file value k at place k, or IGNORE; higher values are mistakes. The file's own 255 is
            ignored too, as in the published loaders.

    Raises:
        Reject: no such file, not an 8-bit single-channel PNG, damaged, or a value that `class_of` does not know.
    """
    try:
        payload = contents(path)
    except FileNotFoundError as error:
        raise Reject(f"label {path} does not exist") from error
    except OSError as error:
        raise Reject(f"label {path} cannot be read: {error}") from error
    _check_header(payload, path)
    values = decode_png(payload, path)  # uint8 [H, W]
    wrong = (values >= len(class_of)) & (values != IGNORE)
    if wrong.any():
        classes = _runs([value for value, index in enumerate(class_of) if index != IGNORE])
        ignored = _runs([value for value, index in enumerate(class_of) if index == IGNORE])
        raise Reject(
            f"label {path}: value {int(values[wrong].max())} in {int(wrong.sum())} pixels; with "
            f"{len(set(class_of) - {IGNORE})} classes expected {classes}, "
            f"{f'{ignored} or ' if ignored else ''}{IGNORE} for no class"
        )
    return _table(class_of)[values]


def decode_png(payload: bytes, path: Readable) -> np.ndarray:
    """Pixel values uint8 [H, W] of an 8-bit single-channel PNG; palette images give their indices."""
    try:
        with Image.open(io.BytesIO(payload)) as image:
            return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Reject(f"label {path} cannot be decoded: {error}") from error


def encode_label(label: np.ndarray) -> bytes:
    """uint8 [H, W] as a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    return buffer.getvalue()


def _check_header(payload: bytes, path: Readable) -> None:
    # Read from the header, because Pillow stretches the values of grey PNGs with fewer than 8 bits.
    if payload[:8] != _SIGNATURE or len(payload) < 26:
        raise Reject(f"label {path} is not a PNG; expected an 8-bit single-channel PNG")
    bits, colour = payload[24], payload[25]
    if (colour == _GREY and bits == 8) or colour == _PALETTE:
        return
    kind = _COLOUR_TYPES.get(colour, f"colour type {colour}")
    raise Reject(
        f"label {path} is a {bits}-bit {kind} PNG; expected 8-bit, one channel, each value a class. "
        "Convert coloured or wider labels to class indices first."
    )


@cache
def _table(class_of: tuple[int, ...]) -> np.ndarray:
    """uint8 [256]: the stored value of every file value."""
    return np.array(class_of + (IGNORE,) * (256 - len(class_of)), np.uint8)


def _runs(values: list[int]) -> str:
    """Ascending numbers in words: "3, 7 to 9"."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return ", ".join(f"{a} to {b}" if a != b else str(a) for a, b in zip(starts, ends, strict=True))
