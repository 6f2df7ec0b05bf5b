"""The loss of the decoded answer: its value and its gradient are those of a plain restatement, through the VAE, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from shards.errors import ConfigError
from tests.tiny_pipelines import write_tiny_encoders
from vpd.backbones import FeatureSpec, Level
from vpd.heads.label_latent import LabelLatentHead
from vpd.tasks import depth_label_latents
from vpd.tasks.depth_label_latents.loss import affine_invariant
from vpd.tasks.depth_label_latents.task import held


def restated(predicted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Picture by picture: the normal equations of scale and shift, then absolute errors, all in float64."""
    errors = []
    for given, true in zip(predicted.double(), wanted.double(), strict=True):
        x, y = given[true > 0], true[true > 0]
        columns = torch.stack([x, torch.ones_like(x)], dim=1)
        found = torch.linalg.solve(columns.T @ columns, columns.T @ y)
        errors.append((columns @ found - y).abs())
    return torch.cat(errors).mean()


def depth_of_views(seed: int, *shape: int) -> torch.Tensor:
    """Metres, about a third of them 0: not measured."""
    metres = np.random.default_rng(seed).uniform(-2, 5, shape)
    return torch.from_numpy(np.maximum(metres, 0)).float()


def test_the_loss_and_its_gradient_are_those_of_the_normal_equations() -> None:
    wanted = depth_of_views(0, 3, 6, 7)
    predicted = torch.randn(3, 6, 7).mul(0.3)
    predicted[wanted == 0] = torch.nan  # is not looked at
    ours, plain = (predicted.clone().requires_grad_() for _ in range(2))
    loss, expected = affine_invariant(ours, wanted), restated(plain, wanted)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    loss.backward()
    expected.backward()
    assert ours.grad is not None
    assert plain.grad is not None
    assert plain.grad.abs().max() > 1e-3
    torch.testing.assert_close(ours.grad, plain.grad.float(), rtol=1e-3, atol=1e-7)
    assert (ours.grad[wanted == 0] == 0).all()


def test_any_scale_and_shift_of_the_truth_costs_nothing_and_one_value_everywhere_its_spread() -> None:
    wanted = depth_of_views(1, 2, 5, 5)
    assert affine_invariant(wanted * -0.2 + 0.7, wanted).item() == pytest.approx(0, abs=1e-6)
    flat = torch.full_like(wanted, 0.4).requires_grad_()
    loss = affine_invariant(flat, wanted)
    spreads = [true[true > 0] - true[true > 0].mean() for true in wanted]
    assert loss.item() == pytest.approx(torch.cat(spreads).abs().mean().item(), rel=1e-5)
    loss.backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
    nothing = torch.zeros_like(wanted)
    assert affine_invariant(torch.randn_like(wanted).requires_grad_(), nothing).item() == 0


def test_the_gradient_of_the_latent_comes_through_the_frozen_decoder(tmp_path: Path) -> None:
    write_tiny_encoders(tmp_path)
    spec = FeatureSpec((Level("latent", 4, 8, 5),), tokens=5, context_width=32)
    task = depth_label_latents.build(loss="decoded", latent_scale=0.5, latent_shift=0.25)
    latents, wanted = torch.randn(2, 4, 4, 5), depth_of_views(2, 2, 32, 40)
    vae: Any = AutoencoderKL.from_pretrained(tmp_path / "vae")
    plain = latents.clone().requires_grad_()
    decoded = vae.decode(plain / 0.5 + 0.25).sample.mean(dim=1).clamp(-1, 1)  # [B, H, W]
    restated(decoded, wanted).backward()
    assert plain.grad is not None
    assert plain.grad.abs().max() > 0
    for checkpointing in (False, True):
        head = LabelLatentHead(spec, str(tmp_path), None, checkpointing, **task.head_options(1))
        ours = latents.clone().requires_grad_()
        shown = head.train()([ours], None, ours)
        assert shown.shape == (2, 1, 32, 40)
        affine_invariant(shown[:, 0], wanted).backward()
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-3, atol=1e-6)
        assert list(head.parameters()) == []


def test_what_is_learned_is_held_between_the_ends_and_empty_without_a_range() -> None:
    depth_m = np.array([[0.0, 1.0, 2.0], [4.0, 8.0, 3.0]], np.float32)
    found = held(depth_m, np.array([1.5, 5.0], np.float32), "depth")
    np.testing.assert_array_equal(found, [[0, 1.5, 2], [4, 5, 3]])
    found = held(depth_m, np.array([0.2, 0.5], np.float32), "disparity")
    np.testing.assert_allclose(found, [[0, 0.5, 0.5], [0.25, 0.2, 1 / 3]], rtol=1e-6)
    assert not held(depth_m, np.zeros(2, np.float32), "depth").any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "decode"}, "loss 'decode' is unknown; choose one of latent, decoded. Did you mean 'decoded'"),
        ({"loss": "decoded", "view_fit": "enlarged"}, "the decoded answer has the pixels of the enlarged view"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        depth_label_latents.build(**options)
