"""The compiled library of this folder, if there is one: found by its name, loaded once, its functions declared.

Owns whether it is used. Readers ask `library()` and go their own way without it. DIFFUSION_PERCEPTION_NATIVE=0 in the
environment leaves it alone.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np

from shards.native.compiling import FOLDER, library_name

SWITCH = "DIFFUSION_PERCEPTION_NATIVE"


def library() -> ctypes.CDLL | None:
    """The library; None where there is none, or the environment says so."""
    return None if os.environ.get(SWITCH) == "0" else _loaded()[0]


def reading_with() -> str:
    """What the hot loops of reading are, for people."""
    if os.environ.get(SWITCH) == "0":
        return f"Python ({SWITCH}=0)"
    found, said = _loaded()
    return f"compiled C ({said})" if found else f"Python ({said})"


def address_of(array: np.ndarray) -> int:
    """Where its first number lies: quicker than `array.ctypes`."""
    return array.__array_interface__["data"][0]


def _installed(name: str) -> Path | None:
    """The library in the environment's packages."""
    import sysconfig  # it takes longer than a batch, and a library beside its sources needs none

    path = Path(sysconfig.get_path("platlib")) / "shards" / "native" / name
    return path if path.exists() else None


@cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    """(the library, where it is), or (None, why not)."""
    try:
        name = library_name()
        path = FOLDER / name
        if not path.exists():
            path = _installed(name)
        if path is None:
            return None, "nothing is compiled for these sources; `python -m shards.native` does it"
        found = ctypes.CDLL(str(path))
        found.map_file.argtypes, found.map_file.restype = (c_int, c_int64), c_int64
        found.unmap_file.argtypes, found.unmap_file.restype = (c_int64, c_int64), None
        found.read_rows.argtypes = (c_int64, c_int64, c_char_p, c_char_p, c_int)
        found.read_rows.restype = c_int64
        found.permute.argtypes = (c_int64, c_void_p, c_void_p, c_int64, c_void_p, c_int64)
        found.phase_ends.argtypes = (c_int64, c_int64, c_void_p, c_int64, c_void_p, c_void_p)
        found.window_items.argtypes = (c_int64, c_void_p, c_char_p)
        found.permute.restype = found.phase_ends.restype = found.window_items.restype = None
        found.cut_quotients.argtypes = (
            c_int64, c_int64, c_void_p, c_void_p, c_int, ctypes.c_float, c_void_p, c_int64,
        )  # fmt: skip
        found.cut_quotients.restype = None
        found.pack_index.argtypes = (c_void_p, c_char_p, c_void_p, c_int64, *[c_void_p] * 5)
        found.write_table.argtypes = (
            c_void_p, c_char_p, c_void_p, c_int, c_int64, c_void_p, c_void_p, c_int, c_void_p,
        )  # fmt: skip
        found.write_table.restype = None
        found.are_names.argtypes = (c_int64, c_void_p, c_int64, c_int64)
        found.copy_and_hash.argtypes = (c_void_p, c_void_p, c_int64, c_int)
        found.copy_and_hash.restype = ctypes.c_uint64
    except (OSError, AttributeError) as error:
        return None, f"the compiled library cannot be loaded: {error}"
    return found, str(path)
