"""Compile the C of this folder where it lies, for a checkout that is not installed: `python -m shards.native`."""

from __future__ import annotations

import sys

from shards.native.compiling import FOLDER, compiled

if __name__ == "__main__":
    made, why = compiled(FOLDER)
    print(made or f"nothing is compiled, reading goes on in Python: {why}")
    sys.exit(made is None)
