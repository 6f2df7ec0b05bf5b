"""Tensors of one kind in several files of moderate size, which are written and read side by side.

Owns the names, `model.safetensors`, `model-00001.safetensors`, ..., and what goes into which: stores give one stream a
part of what they give several, and a run that is asked to end has seconds to write gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

TENSORS = ".safetensors"
PART_BYTES = 1 << 30
_NAME = re.compile(r"(.+?)(-\d{5})?\.safetensors")


def parts_of(stem: str, named: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """File name -> its tensors, in the order of their names; a part is full once it has PART_BYTES."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    n_bytes = 0
    for name in sorted(named):
        if n_bytes >= PART_BYTES:
            parts.append({})
            n_bytes = 0
        parts[-1][name] = named[name]
        n_bytes += named[name].nbytes
    return {f"{stem}{f'-{number:05d}' if number else ''}{TENSORS}": part for number, part in enumerate(parts)}


def files_of(stem: str, names: Iterable[str]) -> list[str]:
    """Those of the named files that hold parts of a kind, in order."""
    return sorted((name for name in names if stem_of(name) == stem), key=lambda name: (len(name), name))


def stem_of(name: str) -> str:
    """The kind of tensors in a file, or nothing for another file."""
    found = _NAME.fullmatch(name)
    return found[1] if found else ""
