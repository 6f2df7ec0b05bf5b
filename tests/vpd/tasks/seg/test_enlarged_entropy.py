"""Cross entropy picture by picture is that of the whole batch, and holds one enlarged picture at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vpd.tasks.seg.enlarged_entropy import enlarged_entropy

IGNORE = 255


def drawn(side: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, side, side + 1, generator=draw, requires_grad=True)
    label = torch.randint(0, 5, (3, 12, 20), generator=draw)
    label[0, :4] = IGNORE
    return logits, label


@pytest.mark.parametrize("shown", [True, False])
def test_loss_and_gradient_are_those_of_enlarging_everything(shown: bool) -> None:
    logits, label = drawn()
    if not shown:
        label.fill_(IGNORE)
    high = F.interpolate(logits, size=label.shape[-2:], mode="bilinear", align_corners=False)
    expected = F.cross_entropy(high, label, ignore_index=IGNORE, reduction="sum")
    found = enlarged_entropy(logits, label, IGNORE)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    slopes = [torch.autograd.grad(3 * loss, logits)[0] for loss in (found, expected)]
    assert (slopes[0] - slopes[1]).abs().max() <= 1e-5 * slopes[1].abs().max()


def test_logits_of_the_labels_size_are_compared_as_they_are() -> None:
    logits, label = drawn()
    high = F.interpolate(logits.detach(), size=label.shape[-2:], mode="bilinear")
    expected = F.cross_entropy(high, label, ignore_index=IGNORE, reduction="sum")
    torch.testing.assert_close(enlarged_entropy(high, label, IGNORE), expected)


class Largest(TorchDispatchMode):
    """The most numbers of any tensor made meanwhile."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            self.numbers = max(self.numbers, x.numel() if isinstance(x, torch.Tensor) else 0)
        return out


def test_one_picture_is_enlarged_at_a_time_and_none_is_kept() -> None:
    logits, label = drawn()
    kept: list[int] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x)
    with Largest() as largest, hooks:
        enlarged_entropy(logits, label, IGNORE).backward()
    assert largest.numbers == 5 * label[0].numel()
    assert kept == [logits.numel()]


def test_without_gradients_there_is_a_loss_alone() -> None:
    logits, label = drawn()
    with torch.inference_mode():
        found = enlarged_entropy(logits, label, IGNORE)
    torch.testing.assert_close(found, enlarged_entropy(logits, label, IGNORE).detach())
