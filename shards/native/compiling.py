"""Compiles the C of this folder into a shared library: for the installation (`hatch_build.py`), or by hand
(`python -m shards.native`).

Owns the compiler's words and the library's name, which holds a hash of its sources: what was compiled from others is
never found. Standard library only: an installation runs it before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
_FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-s", "-pthread", "-w")
_LIBRARIES = ("-lm",)
_TIMEOUT_S = 120


def library_name() -> str:
    """Of the library of these sources on this kind of machine."""
    digest = hashlib.sha256(" ".join([*_FLAGS, *_LIBRARIES]).encode())
    for name in sorted(os.listdir(FOLDER)):  # at the first read of every process: `glob` takes five times as long
        if name.endswith((".c", ".h")):
            with open(f"{FOLDER}/{name}", "rb", buffering=0) as file:
                digest.update(name.encode() + file.read())
    return f"reading-{digest.hexdigest()[:16]}-{sys.platform}-{platform.machine()}.so"


def compiler() -> list[str]:
    """The words that call a C compiler; none where there is none, or CC names none."""
    try:
        words = shlex.split(os.environ.get("CC", ""))
    except ValueError:  # a quotation without an end
        return []
    words = words or [next(filter(shutil.which, ("cc", "gcc", "clang")), "")]
    return words if shutil.which(words[0]) else []


def compiled(into: Path) -> tuple[Path | None, str]:
    """(the library in a folder, "") or (None, why there is none); never raises for a compiler that cannot."""
    words = compiler()
    if not words:
        return None, "no C compiler was found (cc, gcc, clang, or what CC names)"
    library = into / library_name()
    temporary = library.with_suffix(f".{os.getpid()}.tmp")
    sources = [path.name for path in sorted(FOLDER.glob("*.c"))]
    try:
        done = subprocess.run(
            [*words, *_FLAGS, *sources, "-o", str(temporary), *_LIBRARIES],
            cwd=FOLDER, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            return None, f"{words[0]} ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}"
        temporary.replace(library)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{words[0]}: {error}"
    finally:
        temporary.unlink(missing_ok=True)
    return library, ""
