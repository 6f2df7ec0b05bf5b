"""Whether the tars of a set are there, with the sizes of its manifest.

Owns when that is looked at. A few are looked at before a set is given out. Many are a wait that grows with the set, of
seconds on a file system that is far away, so a thread looks at them, a moment later so that it is not in the way of the
first batch, and the next read says what it found. Whoever opens a tar looks at its size as well.
"""

from __future__ import annotations

import _thread
import threading
import weakref
from collections.abc import Sequence

from shards.contract.entries import ShardEntry
from shards.contract.shard_list import tars_of
from shards.storage.storage import Folder

FEW = 1000  # shards
LATER_S = 1.0


class TarSizes:
    """Of a set in a local folder. Up to `FEW` are looked at here and now.

    Raises:
        IncompleteSet: a tar is missing.
        CorruptShard: a tar has another size.
    """

    def __init__(self, folder: Folder, shards: Sequence[ShardEntry]) -> None:
        self.fault: Exception | None = None
        self._is_asked, self._is_done = threading.Event(), threading.Event()
        if len(shards) <= FEW:
            for name, tar_bytes in tars_of(shards):
                folder.check_size(f"{name}.tar", tar_bytes)
            self._is_done.set()
        else:  # not by a `Thread`, whose start waits until it runs
            _thread.start_new_thread(_look, (weakref.ref(self), self._is_asked, self._is_done, folder, shards))

    def check(self) -> None:
        """Raise what was found, if anything was so far."""
        if self.fault is not None:
            raise self.fault

    def wait(self) -> None:
        """Until all are looked at; raises what was found."""
        self._is_asked.set()
        self._is_done.wait()
        self.check()


def _look(
    sizes: weakref.ref[TarSizes],
    is_asked: threading.Event,
    is_done: threading.Event,
    folder: Folder,
    shards: Sequence[ShardEntry],
) -> None:
    """At all of them, until nobody wants to know."""
    try:
        is_asked.wait(LATER_S)
        for name, tar_bytes in tars_of(shards):
            if sizes() is None:
                return
            folder.check_size(f"{name}.tar", tar_bytes)
    except Exception as error:  # whatever it is, of a page of the list, too, the reader raises it
        if (told := sizes()) is not None:
            told.fault = error
    finally:
        is_done.set()
