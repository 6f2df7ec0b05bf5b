"""What is written as a stream is what the library of the format reads and writes."""

from __future__ import annotations

import io

import pytest
import torch
import xxhash
from safetensors.torch import load, save

from vpd.training.checkpoints.tensor_file import NAMES, write_tensors

TENSORS = {
    "z": torch.arange(6, dtype=torch.int64).reshape(2, 3),
    "a": torch.tensor(1.5),
    "half": torch.arange(3).to(torch.bfloat16),
    "none": torch.zeros(0, 4),
    "ä.weight": torch.randn(2, 1, 3),
    "mask": torch.tensor([True, False, True]),
}


def test_the_library_reads_what_was_written() -> None:
    file = io.BytesIO()
    n_bytes, digest = write_tensors(file, TENSORS)
    assert xxhash.xxh3_128_hexdigest(file.getvalue()[:n_bytes]) == digest
    assert n_bytes + sum(tensor.nbytes for tensor in TENSORS.values()) == len(file.getvalue())
    read = load(file.getvalue())
    assert set(read) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("dtype", NAMES, ids=str)
def test_the_bytes_are_the_librarys_own(dtype: torch.dtype) -> None:
    file, tensors = io.BytesIO(), {"x": torch.ones(3, 2).to(dtype)}
    write_tensors(file, tensors)
    assert file.getvalue() == save(tensors)
