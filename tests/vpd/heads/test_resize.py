"""Features are enlarged in their own type and layout, to the numbers that autocast's float32 gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vpd.heads.ops.resize import repeat, resize

SIZE = (10, 14)
BILINEAR, NEAREST = {"mode": "bilinear", "align_corners": False}, {"mode": "nearest"}


@pytest.mark.parametrize(("enlarge", "how"), [(resize, BILINEAR), (repeat, NEAREST)])
def test_half_precision_gives_the_bits_that_float32_rounded_gives(
    enlarge: Callable[..., torch.Tensor], how: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5, 7, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = enlarge(x, SIZE)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, F.interpolate(x.float(), size=SIZE, **how).bfloat16())  # as autocast has it on a GPU
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("channels", [2, 8])
def test_float32_values_and_gradients_are_torchs_own(channels: int, align_corners: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 5, 7, requires_grad=True)
    found = resize(x, SIZE, align_corners=align_corners)
    expected = F.interpolate(x, size=SIZE, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    slope = torch.randn_like(expected)
    pair = (torch.autograd.grad(output, x, slope)[0] for output in (found, expected))
    torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-5)


def test_what_has_the_size_is_left_alone() -> None:
    x = torch.randn(1, 8, *SIZE)
    assert resize(x, SIZE) is x
    assert repeat(x, SIZE) is x
