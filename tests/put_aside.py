"""Importing this puts everything that is loaded aside: what a process of `tests.forked` does last, before it forks.

Each fork would else visit half a million objects of modules, and copy their pages, when its training begins.
"""

from __future__ import annotations

import gc

gc.freeze()
