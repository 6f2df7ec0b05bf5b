"""The depth loss: against the official criterion, and where that one breaks."""

from __future__ import annotations

import pytest
import torch

from vpd.tasks.depth.loss import silog


def by_hand(pred, target, focus):
    kept = target > 0
    d = target[kept].double().log() - pred[kept].double().log()
    return (d.square().mean() - focus * d.mean() ** 2).sqrt().item()


@pytest.mark.parametrize("focus", ["0.5", "0.85", "1.0"])
def test_loss_and_gradient_equal_the_official_criterion(focus, golden_depth_metrics):
    pred = golden_depth_metrics["silog.pred"].clone().requires_grad_()
    loss = silog(pred, golden_depth_metrics["silog.target"], float(focus))
    loss.backward()
    facts = golden_depth_metrics.facts["silog"][focus]
    assert loss.item() == pytest.approx(facts["loss"], rel=1e-5)
    assert pred.grad.norm().item() == pytest.approx(facts["grad_norm"], rel=1e-5)
    if focus == "0.5":
        torch.testing.assert_close(pred.grad, golden_depth_metrics["silog.grad_pred"], rtol=1e-4, atol=1e-9)


def depths(batch=3):
    torch.manual_seed(0)
    target = torch.rand(batch, 8, 9) * 5 + 0.1
    target[torch.rand_like(target) < 0.3] = 0
    target[0, 2:] = 0  # images with few and with many measured pixels
    return torch.rand(batch, 8, 9) * 5 + 0.1, target


def test_pooled_weighs_pixels_and_per_image_weighs_images():
    pred, target = depths()
    images = [by_hand(p, t, 0.5) for p, t in zip(pred, target, strict=True)]
    assert silog(pred, target, 0.5, per_image=True).item() == pytest.approx(sum(images) / 3, rel=1e-5)
    assert silog(pred, target, 0.5).item() == pytest.approx(by_hand(pred, target, 0.5), rel=1e-5)
    assert abs(sum(images) / 3 - by_hand(pred, target, 0.5)) > 1e-3


def test_a_common_factor_is_free_at_focus_one_only():
    _, target = depths()
    pred = torch.where(target > 0, target * 2, 1.0)
    assert silog(pred, target, 1.0).item() == pytest.approx(0.0, abs=1e-3)
    assert silog(pred, target, 0.0).item() == pytest.approx(0.6931, rel=1e-3)


@pytest.mark.parametrize("per_image", [False, True])
def test_nothing_measured_is_no_loss_and_no_gradient(per_image):
    pred = depths()[0].requires_grad_()
    loss = silog(pred, torch.zeros(3, 8, 9), per_image=per_image)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.abs().max() == 0


def test_an_image_without_measurement_changes_neither_form():
    pred, target = depths()
    blank = torch.cat([target, torch.zeros(1, 8, 9)])
    more = torch.cat([pred, torch.full((1, 8, 9), 3.0)])
    for per_image in (False, True):
        expected = silog(pred, target, per_image=per_image)
        torch.testing.assert_close(silog(more, blank, per_image=per_image), expected)


@pytest.mark.parametrize("per_image", [False, True])
def test_a_perfect_prediction_has_a_finite_gradient(per_image):
    _, target = depths()
    pred = torch.where(target > 0, target, 2.0).requires_grad_()
    loss = silog(pred, target, per_image=per_image)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.isfinite().all()


def test_a_prediction_of_zero_stays_finite_measured_or_not():
    pred, target = depths()
    pred[:, 0] = 0
    pred.requires_grad_()
    loss = silog(pred, target)
    loss.backward()
    assert loss.isfinite()
    assert pred.grad.isfinite().all()


def test_a_broken_prediction_is_not_hidden():
    pred, target = depths()
    pred[1][target[1] > 0] = torch.nan
    assert silog(pred, target).isnan()
