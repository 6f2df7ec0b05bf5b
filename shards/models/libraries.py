"""Importing the large libraries that models are written with.

Owns that Python's collector waits meanwhile: what an import makes stays, and looking through it again and again for
garbage takes an eighth of the seconds that diffusers and transformers need. Which library it is, the rooms that import
one know.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """No collection meanwhile. Of several threads, the one that stopped the collector lets it go on."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
