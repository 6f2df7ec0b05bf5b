"""Tensors written into an open file in the safetensors format, one after the other, with no copy of the whole.

Owns the bytes that are written; they are read with the library itself (`safetensors.torch.load_file`), which writes
only to paths and into memory, where a store of any kind takes a stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

import torch
import xxhash

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Writable(Protocol):
    """What is asked of a file."""

    def write(self, data: memoryview | bytes, /) -> object: ...


def write_tensors(file: Writable, tensors: Mapping[str, torch.Tensor]) -> tuple[int, str]:
    """Write named tensors; returns size and XXH3 hash of what precedes them: their names, types and shapes."""
    # Widest first, so that every tensor is aligned in a mapped file; then by name: equal tensors are equal bytes.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header, end = {}, 0
    for name in names:
        tensor, begin = tensors[name], end
        end += tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    file.write(head)
    for name in names:
        if tensors[name].numel():
            file.write(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return len(head), xxhash.xxh3_128_hexdigest(head)
