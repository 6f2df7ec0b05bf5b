"""Cross entropy over rows is that over pictures, with every option the tasks use."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vpd.tasks.pixel_entropy import pixel_entropy
from vpd.training.step.determinism import same_bits


@pytest.mark.parametrize(
    "options", [{"weight": torch.tensor([0.9, 1.1, 2.0])}, {"ignore_index": 2, "reduction": "sum"}, {}]
)
def test_rows_give_what_pictures_give(options: dict[str, Any]) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 7, generator=draw, requires_grad=True)
    label = torch.randint(0, 3, (2, 5, 7), generator=draw)
    expected = F.cross_entropy(logits, label, **options)
    (slope,) = torch.autograd.grad(expected, logits)
    with same_bits(True, torch.device("cpu")):
        found = pixel_entropy(logits, label, **options)
    (other,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(other, slope)
    assert found.grad_fn is not None
    assert "Loss2D" not in str(found.grad_fn.next_functions)
