"""A `.npy` file of somebody's, read whole: plain values, no larger than the file is.

NumPy's own `load` reserves room for the shape that a header claims, and raises whatever Python's parser meets in a
damaged one. What the values mean is the reader's.
"""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from numpy.lib import format as npy_format

from pipeline.files.readable import Readable, opened

_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def read_npy(path: Readable) -> np.ndarray:
    """The array of a file. OSError as `opened`; ValueError: no such array, damaged, or not of plain values."""
    with opened(path) as file:
        payload = bytearray(file.read())  # writable, as a loaded array is
    stream = io.BytesIO(payload)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, in_columns, dtype = _HEADERS[npy_format.read_magic(stream)](stream)
    except Exception as error:  # on broken bytes, Python's own parser raises whatever it meets
        raise ValueError(f"its header cannot be read ({type(error).__name__}: {str(error)[:80]})") from error
    count, begin = math.prod(shape), stream.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or count * dtype.itemsize > len(payload) - begin:
        raise ValueError(f"it claims {dtype} {list(shape)}, and has {len(payload) - begin} bytes of plain values")
    values = np.frombuffer(payload, dtype, count, begin)
    return values.reshape(shape, order="F" if in_columns else "C")
