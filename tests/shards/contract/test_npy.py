"""Finite checks look at the bits of float16: they must agree with NumPy for every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from shards.contract.npy import is_finite

EVERY_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def test_every_float16_is_judged_as_numpy_does() -> None:
    wrong = [
        bits
        for bits, finite in enumerate(np.isfinite(EVERY_FLOAT16))
        if is_finite(EVERY_FLOAT16[bits : bits + 1]) != finite
    ]
    assert not wrong
    assert is_finite(EVERY_FLOAT16[np.isfinite(EVERY_FLOAT16)])
    assert not is_finite(EVERY_FLOAT16)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
def test_an_empty_array_and_a_slice_are_finite(dtype: str) -> None:
    assert is_finite(np.zeros((0, 4), dtype))
    assert is_finite(np.zeros((4, 4), dtype)[:, ::2])
