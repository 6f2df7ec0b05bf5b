"""Plain numbers of MATLAB v5 files: what SciPy writes is read back, everything else passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from pipeline.files.mat5 import numbers_in


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_what_scipy_writes_is_read_back(tmp_path: Path, dtype: str, compressed: bool) -> None:
    written: dict[str, Any] = {
        "a": np.arange(1, 7, dtype=dtype).reshape(6, 1),
        "long_name_of_a_variable": np.arange(12, dtype=dtype).reshape(3, 4),
        "one": np.array([[5]], dtype),
        "none": np.zeros((0, 1), dtype),
    }
    others = {"text": "abc", "cell": np.array([[1, "x"]], object), "struct": {"x": 1}, "complex": np.array([[1j]])}
    scipy.io.savemat(tmp_path / "a.mat", written | others, do_compression=compressed)
    found = numbers_in((tmp_path / "a.mat").read_bytes(), {*written, *others})
    assert numbers_in((tmp_path / "a.mat").read_bytes(), ["one"]).keys() == {"one"}
    assert found.keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(found[name], array.ravel(order="F"))


CUT = b"MATLAB 5.0".ljust(126) + b"IM" + b"\x0e\0\0\0\xff\xff\xff\x7f"


@pytest.mark.parametrize("payload", [b"", b"<html>", CUT])
def test_what_is_no_such_file_or_cut_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"it starts with|is cut"):
        numbers_in(payload, ["a"])
