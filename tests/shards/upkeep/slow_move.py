"""A push or pull as a process to be killed: python -m tests.shards.upkeep.slow_move push|pull SET TO OPTIONS."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from shards.upkeep import copying
from shards.upkeep.publication import pull_sets, push_sets

PAUSE_S = 0.03


def main() -> None:
    move, place, to, options = sys.argv[1:]
    copy = copying.copy_file

    def slowly(*given: Any) -> None:
        time.sleep(PAUSE_S)
        copy(*given)

    copying.copy_file = slowly
    done = {"push": push_sets, "pull": pull_sets}[move]
    done([place], to, storage_options=json.loads(options), threads=2)


if __name__ == "__main__":
    main()
