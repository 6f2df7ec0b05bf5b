"""The large libraries that models are written with: imported without a collection, and kept from talking.

Owns that Python's collector waits while one is imported: what an import makes stays, and looking through it again and
again for garbage takes an eighth of the seconds that diffusers and transformers need. Nothing is imported here; which
library it is, the rooms that import one know.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


@contextmanager
def quietly() -> Iterator[None]:
    """diffusers and transformers, as far as they are imported, print neither progress bars nor hints meanwhile; what
    the caller had configured is put back."""
    names = ("diffusers.utils.logging", "transformers.utils.logging")
    libraries: list[Any] = [sys.modules[name] for name in names if name in sys.modules]
    before = [(library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity(library.CRITICAL)
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, has_bars in before:
            library.set_verbosity(level)
            if has_bars:
                library.enable_progress_bar()
