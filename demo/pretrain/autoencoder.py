"""The tiny VAE: the encoder of `demo.tiny_sd`, whose signals are made by hand, and a decoder trained to invert it.

Owns the scale of the latents, which is folded into the layers around them, so that they have Stable Diffusion's own
spread: 0.18215 times a raw latent has a standard deviation of 1. The decoder is for looking at samples; no chapter of
the demo needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from demo.pretrain.budget import Budget
from demo.pretrain.pool import scene_of, squeezed
from demo.tiny_sd import new_vae

SCALING = 0.18215
STRIDE = 8  # pixels a latent
BATCH, CROP, RATE = 8, 8, 3e-3  # CROP: latents a side
SCALE_SCENES = 64  # that the spread is measured on
EVAL_EVERY = 100


def to_pixels(images: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def pictures(seed: int, first: int, count: int) -> Tensor:
    """Scenes from `first` on, each whole, [count, 3, H, W]."""
    return to_pixels(np.stack([squeezed(scene_of(seed, number)) for number in range(first, first + count)]))


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] of raw latents."""
    found: Any = vae.decode(latents)  # type: ignore[arg-type]
    return found.sample


@torch.no_grad()
def means(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Raw latents [N, 4, h, w]."""
    rows = []
    for part in pixels.split(16):
        posterior: Any = vae.encode(part)
        rows.append(posterior.latent_dist.mean)
    return torch.cat(rows)


def new_autoencoder(seed: int) -> AutoencoderKL:
    torch.manual_seed(seed)
    vae = new_vae()
    _fold_scale(vae, means(vae, pictures(seed, 0, SCALE_SCENES)))
    return vae


def train_decoder(
    vae: AutoencoderKL, budget: Budget, seed: int, scenes: int, held_out: int, log: Callable[[int, float], None]
) -> None:
    """Train the decoder in place until the budget is used up.

    Args:
        scenes: to train on, those after the held-out ones.
        log: called now and then with the step and the absolute error on the held-out scenes, in grey values of 255.
    """
    known, images = pictures(seed, 0, held_out), pictures(seed, held_out, scenes)
    known_latents, latents = means(vae, known), means(vae, images)
    parts = [part for part in (vae.decoder, vae.post_quant_conv) if part is not None]
    learnt = [weight for part in parts for weight in part.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=RATE, weight_decay=1e-4)
    random = np.random.default_rng([seed, 1])

    @torch.no_grad()
    def error() -> float:
        return float((decoded(vae, known_latents).clamp(-1, 1) - known).abs().mean() * 127.5)

    step = 0
    while budget.share(step) < 1:
        if step % EVAL_EVERY == 0:
            log(step, error())
        for group in optimizer.param_groups:
            group["lr"] = RATE * budget.rate(step)
        chosen = torch.from_numpy(random.integers(scenes, size=BATCH))
        y, x = (int(place) for place in random.integers(latents.shape[-1] - CROP + 1, size=2))
        drawn = decoded(vae, latents[chosen, :, y : y + CROP, x : x + CROP])
        top, left, side = y * STRIDE, x * STRIDE, CROP * STRIDE
        difference = drawn - images[chosen, :, top : top + side, left : left + side]
        (difference.abs().mean() + 2 * difference.square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    log(step, error())


@torch.no_grad()
def _fold_scale(vae: AutoencoderKL, latents: Tensor) -> None:
    """Give these latents [N, 4, h, w] a mean of 0 and a standard deviation of 1 / SCALING in every channel.

    The layers on both sides of the latents are 1 x 1 convolutions, so this changes no reconstruction.
    """
    shift = latents.mean(dim=(0, 2, 3))  # [4]
    gain = 1 / (SCALING * latents.std(dim=(0, 2, 3)))  # [4]
    before, after = vae.quant_conv, vae.post_quant_conv
    assert before is not None
    assert after is not None
    outwards, inwards = dict(after.named_parameters()), dict(before.named_parameters())
    outwards["bias"].add_(outwards["weight"][:, :, 0, 0] @ shift)
    outwards["weight"].div_(gain[None, :, None, None])
    inwards["bias"][:4] = (inwards["bias"][:4] - shift) * gain
    inwards["weight"][:4] *= gain[:, None, None, None]
