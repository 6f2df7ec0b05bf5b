"""Scale and shift are free, and nothing else is: alignment, the masked loss, the scores of a broken prediction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vpd.tasks.depth_label_latents.loss import masked_mse
from vpd.tasks.depth_label_latents.metric import AlignedDepthMetric, aligned

TARGET = torch.tensor([[1.0, 2.0, 4.0], [5.0, 0.0, 8.0]])
COUNTED = TARGET > 0


@pytest.mark.parametrize("space", ["depth", "disparity"])
def test_any_scale_and_shift_of_the_truth_is_the_truth(space: str) -> None:
    shown = TARGET if space == "depth" else 1 / TARGET.clamp(min=0.1)
    found = aligned(shown * 0.3 - 0.7, TARGET, COUNTED, space)
    torch.testing.assert_close(found[COUNTED], TARGET[COUNTED])
    metric = AlignedDepthMetric(space, 1e-3, 10.0, "none")
    metric.update(shown * 0.3 - 0.7, TARGET)
    scores = metric.joined([metric.state]).compute()
    assert scores["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert scores["d1"] == 1


def test_the_fit_is_that_of_least_squares_over_what_counts() -> None:
    rng = np.random.default_rng(0)
    predicted, target = rng.normal(size=(9, 7)), rng.uniform(1, 9, (9, 7))
    counted = rng.uniform(size=(9, 7)) < 0.5
    columns = np.stack([predicted[counted], np.ones(counted.sum())], axis=1)
    scale, shift = np.linalg.lstsq(columns, target[counted], rcond=None)[0]
    found = aligned(torch.from_numpy(predicted), torch.from_numpy(target), torch.from_numpy(counted), "depth")
    np.testing.assert_allclose(found.numpy(), scale * predicted + shift, rtol=1e-5)


def test_one_value_everywhere_is_the_mean_and_nan_is_no_score() -> None:
    found = aligned(torch.full_like(TARGET, 3.0), TARGET, COUNTED, "depth")
    torch.testing.assert_close(found, torch.full_like(TARGET, 4.0))
    broken = AlignedDepthMetric("depth", 1e-3, 10.0, "none")
    broken.update(torch.full_like(TARGET, math.nan), TARGET)
    assert math.isnan(broken.compute()["abs_rel"])


def test_what_is_outside_the_limits_is_held_at_them() -> None:
    metric = AlignedDepthMetric("disparity", 0.5, 10.0, "none")
    metric.update(torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), torch.tensor([[9.0, 1.0, 9.0], [1.0, 9.0, 1.0]]))
    assert all(math.isfinite(score) for score in metric.compute().values())


def test_the_loss_is_the_mean_over_measured_cells_and_nothing_else_is_read() -> None:
    wanted, mask = torch.randn(2, 4, 3, 3), torch.zeros(2, 3, 3, dtype=torch.uint8)
    mask[0, 1, 1] = mask[1, 2, 0] = 1
    predicted = torch.full_like(wanted, math.nan)
    predicted[0, :, 1, 1], predicted[1, :, 2, 0] = wanted[0, :, 1, 1] + 1, wanted[1, :, 2, 0] + 3
    predicted.requires_grad_()
    loss = masked_mse(predicted, wanted, mask)
    assert loss.item() == pytest.approx((1 + 9) / 2)
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert (predicted.grad != 0).sum() == 8
    assert masked_mse(predicted, wanted, torch.zeros_like(mask)) == 0
