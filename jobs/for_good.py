"""What a process of a job loads and keeps until it ends: Python's collector never looks at it.

Imports, weights and annotations are some million objects, all of them in use, which the collector would look through
again and again, while they are made and later. A process that is not a job's own, such as a notebook, may hold garbage
at that moment, which would stay: there `shards.models.libraries.undisturbed` does.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from shards.models.libraries import undisturbed


@contextmanager
def for_good() -> Iterator[None]:
    """Nothing is collected meanwhile, and what is there at the end stays."""
    with undisturbed():
        yield
        gc.freeze()
