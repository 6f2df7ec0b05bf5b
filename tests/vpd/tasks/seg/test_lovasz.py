"""The Lovász-softmax loss against its definition, against the Jaccard index, and its gradient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpd.tasks.seg.labels import shown_classes
from vpd.tasks.seg.lovasz import jaccard_weights, lovasz_softmax

IGNORE = 255


def jaccard_loss(wrong: set[int], members: set[int]) -> float:
    """1 - |intersection| / |union| of a class whose pixels are predicted right but for the set `wrong`."""
    predicted = members ^ wrong
    return 1 - len(predicted & members) / len(predicted | members)


def extension(error: list[float], members: set[int]) -> float:
    """The Lovász extension as an integral: the mean of the set function over the level sets of the error."""
    steps = sorted({0.0, *error})
    return sum(
        (above - below) * jaccard_loss({i for i, e in enumerate(error) if e > below}, members)
        for below, above in itertools.pairwise(steps)
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_lovasz_extension_of_the_jaccard_loss(seed: int) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(2, 4, 2, 3) * 2
    label = torch.randint(0, 3, (2, 2, 3))  # class 3 never occurs
    label[torch.rand(label.shape) < 0.2] = IGNORE
    probability = logits.double().softmax(1).permute(0, 2, 3, 1)[label != IGNORE].tolist()
    kept = label[label != IGNORE].tolist()
    per_class = []
    for index in sorted(set(kept)):
        members = {i for i, value in enumerate(kept) if value == index}
        error = [abs((i in members) - p[index]) for i, p in enumerate(probability)]
        per_class.append(extension(error, members))
    assert lovasz_softmax(logits, label, IGNORE).item() == pytest.approx(sum(per_class) / len(per_class), rel=1e-5)


def test_for_sure_predictions_it_is_one_minus_the_mean_iou_of_the_present_classes() -> None:
    torch.manual_seed(0)
    prediction, label = torch.randint(0, 5, (2, 8, 8)), torch.randint(0, 4, (2, 8, 8))
    label[:, :2] = IGNORE
    logits = F.one_hot(prediction, 5).permute(0, 3, 1, 2) * 100.0
    kept = label != IGNORE
    ious = [
        ((prediction == c) & (label == c) & kept).sum() / (((prediction == c) | (label == c)) & kept).sum()
        for c in range(4)
    ]
    expected = 1 - torch.stack(ious).mean().item()
    assert lovasz_softmax(logits, label, IGNORE).item() == pytest.approx(expected, rel=1e-6)
    perfect = F.one_hot(label.clamp(max=4), 5).permute(0, 3, 1, 2) * 100.0
    assert lovasz_softmax(perfect, label, IGNORE).item() == pytest.approx(0, abs=1e-6)


def test_its_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(1)
    label = torch.randint(0, 3, (1, 3, 3))
    label[0, 0, 0] = IGNORE
    logits = torch.randn(1, 3, 3, 3, requires_grad=True)
    lovasz_softmax(logits, label, IGNORE).backward()
    assert logits.grad is not None
    for place in itertools.product(range(3), range(3), range(3)):
        step = torch.zeros_like(logits)
        step[0][place] = 1e-3
        with torch.no_grad():
            rise = lovasz_softmax(logits + step, label, IGNORE) - lovasz_softmax(logits - step, label, IGNORE)
        assert logits.grad[0][place].item() == pytest.approx(rise.item() / 2e-3, abs=2e-4)
    assert not logits.grad[0, :, 0, 0].any()  # the ignored pixel


def test_a_batch_counts_as_one_picture_and_ignored_pixels_as_none() -> None:
    torch.manual_seed(2)
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    together = torch.cat(list(logits), dim=1)[None]  # [1, 3, 8, 4]
    whole = lovasz_softmax(logits, label, IGNORE)
    torch.testing.assert_close(lovasz_softmax(together, torch.cat(list(label))[None], IGNORE), whole)
    framed, frame = F.pad(logits, (1, 1, 1, 1), value=7.0), F.pad(label, (1, 1, 1, 1), value=IGNORE)
    torch.testing.assert_close(lovasz_softmax(framed, frame, IGNORE), whole)
    assert (lovasz_softmax(logits[:1], label[:1], IGNORE) - whole).abs() > 1e-3


def test_classes_that_are_known_beforehand_change_nothing() -> None:
    torch.manual_seed(5)
    logits, label = torch.randn(2, 6, 4, 4), torch.randint(0, 4, (2, 4, 4))
    label[0, 0] = IGNORE
    flags = [shown_classes(picture.numpy().astype(np.uint8), 6) for picture in label]
    shown = np.flatnonzero(np.any(flags, axis=0)).tolist()
    assert shown == [0, 1, 2, 3]
    assert torch.equal(lovasz_softmax(logits, label, IGNORE, shown), lovasz_softmax(logits, label, IGNORE))
    assert lovasz_softmax(logits, torch.full_like(label, IGNORE), IGNORE, []) == 0


def test_nothing_labelled_gives_0_and_a_gradient_of_0() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = lovasz_softmax(logits, torch.full((1, 2, 2), IGNORE), IGNORE)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_weights_of_a_million_pixels_keep_their_digits_and_sum_to_1() -> None:
    """Sorted by error, every pixel wrong at last: the Jaccard loss is 1. Differences in float32 miss by percents."""
    torch.manual_seed(3)
    error, member = torch.rand(1_000_000), torch.rand(1_000_000) < 0.3
    weight = jaccard_weights(error, member)
    assert weight.double().sum().item() == pytest.approx(1, abs=1e-6)
    exact = member[error.argsort(descending=True)].double()
    union = exact.sum() + (1 - exact).cumsum(0)
    loss = 1 - (exact.sum() - exact.cumsum(0)) / union
    steps = torch.diff(loss, prepend=loss.new_zeros(1))
    torch.testing.assert_close(weight[error.argsort(descending=True)].double(), steps, rtol=1e-5, atol=1e-14)


def test_logits_in_half_precision_are_summed_in_float32() -> None:
    torch.manual_seed(4)
    logits, label = torch.randn(1, 3, 8, 8).bfloat16(), torch.randint(0, 3, (1, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        loss = lovasz_softmax(logits, label, IGNORE)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, lovasz_softmax(logits.float(), label, IGNORE))
