"""Gaussian noise on the gradients, less with every step (`optim.gradient_noise`).

Owns its size and its seed: a function of the run's seed and of the step, so that every worker adds the same numbers and
a resumed run goes on as it would have. Source: Neelakantan et al., "Adding Gradient Noise Improves Learning for Very
Deep Networks", arXiv 1511.06807: variance eta / (1 + t)^0.55, with eta 0.01, 0.3 or 1.0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

DECAY = 0.55  # gamma of the source
_SALT = 0xD1B54A32D192ED03  # another series than dropout's


def deviation(eta: float, step: int) -> float:
    """Standard deviation of the noise after `step` finished steps."""
    return (eta / (1 + step) ** DECAY) ** 0.5


@torch.no_grad()
def add_noise(gradients: Iterable[torch.Tensor], eta: float, seed: int, step: int) -> None:
    """Add the noise of a step to gradients, in place and in their order; nothing is read back from the device.

    Args:
        gradients: the same on every worker.
        eta: variance of the first step's noise.
        seed: of the run.
        step: that are finished.
    """
    generator: torch.Generator | None = None
    for gradient in gradients:
        if generator is None:
            generator = torch.Generator(gradient.device)
            generator.manual_seed((seed * _SALT + step * 0x9E3779B97F4A7C15) % 2**63)
        noise = torch.empty_like(gradient, memory_format=torch.contiguous_format)  # a weight's layout changes no draw
        gradient.add_(noise.normal_(0.0, deviation(eta, step), generator=generator))
