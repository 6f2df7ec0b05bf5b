"""The compiled library of this folder, if there is one: found by its name, loaded once, its functions declared.

Owns whether it is used. Readers ask `library()` and go their own way without it. DIFFUSION_PERCEPTION_NATIVE=0 in the
environment leaves it alone.
"""

from __future__ import annotations

import ctypes
import os
import sysconfig
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

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


@cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    """(the library, where it is), or (None, why not)."""
    try:
        name = library_name()
        places = [FOLDER / name, Path(sysconfig.get_path("platlib")) / "shards" / "native" / name]
        path = next((path for path in places if path.exists()), None)
        if path is None:
            return None, "nothing is compiled for these sources; `python -m shards.native` does it"
        found = ctypes.CDLL(str(path))
        found.map_file.argtypes, found.map_file.restype = (c_int, c_int64), c_int64
        found.unmap_file.argtypes, found.unmap_file.restype = (c_int64, c_int64), None
        found.read_rows.argtypes = (c_int64, c_int64, c_char_p, c_char_p, c_int)
        found.read_rows.restype = c_int64
        found.permute.argtypes, found.permute.restype = (c_int64, c_void_p, c_void_p, c_void_p), None
        found.cut_quotients.argtypes = (
            c_int64, c_int64, c_void_p, c_void_p, c_int, ctypes.c_float, c_void_p, c_int64,
        )  # fmt: skip
        found.cut_quotients.restype = None
        found.copy_and_hash.argtypes = (c_void_p, c_void_p, c_int64, c_int)
        found.copy_and_hash.restype = ctypes.c_uint64
    except (OSError, AttributeError) as error:
        return None, f"the compiled library cannot be loaded: {error}"
    return found, str(path)
