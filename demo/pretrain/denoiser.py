"""The U-Net and the text encoder, trained together to predict noise from a noisy latent and its caption.

Owns their shape, the loss, the average of their weights that is kept, and going on after an interruption. The noise
schedule is Stable Diffusion's; so is dropping a tenth of the captions, which guided sampling needs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from demo.pretrain.budget import Budget
from demo.pretrain.captions import caption_of
from demo.pretrain.latents import LatentPool
from demo.tiny_sd import TEXT_WIDTH

WIDTHS, LAYERS = (32, 64, 64, 64), 1
RATE, TEXT_SHARE = 1e-3, 0.3  # the text encoder learns at this share of the rate
AVERAGED = 0.998  # decay of the average
DROPPED = 0.1  # of the captions
SHORTEST = 16  # tokens a caption is padded to at least, as the referring chapter's sentences
TIMES = 1000
EVAL_EVERY, SAVE_EVERY = 250, 250


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=WIDTHS,
        layers_per_block=LAYERS,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,  # the number of heads: diffusers keeps SD v1's misnomer
        norm_num_groups=8,
    )


def read_denoiser(folder: Path, shaped: Denoiser) -> Denoiser:
    """`shaped` with the weights of a model folder that an earlier pre-training wrote.

    RuntimeError: they are of another shape.
    """
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet")
    shaped.unet.load_state_dict(unet.state_dict())
    shaped.text_encoder.load_state_dict(text_encoder.state_dict())
    return shaped


def noise_schedule() -> DDPMScheduler:
    return DDPMScheduler(
        num_train_timesteps=TIMES, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )


class Denoiser(nn.Module):
    """Noisy latents, times and token ids to the noise."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, noisy: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        states = self.text_encoder(tokens).last_hidden_state  # [B, L, D]
        return self.unet(noisy, times, states).sample  # [B, 4, h, w]


@dataclass
class Losses:
    """Mean squared error of the noise on latents, captions, times and noises that stay the same."""

    noisy: Tensor  # [N, 4, h, w]
    noise: Tensor
    times: Tensor  # [N]
    tokens: Tensor  # [N, L]

    @classmethod
    def on(cls, pool: LatentPool, tokenizer: CLIPTokenizer, seed: int) -> Losses:
        random, generator = np.random.default_rng([seed, 2]), torch.Generator().manual_seed(seed)
        latents = pool.latents
        noise = torch.randn(latents.shape, generator=generator)
        times = torch.linspace(0, TIMES - 1, len(latents)).round().long()
        tokens = tokens_of(tokenizer, [caption_of(scene, random) for scene in pool.scenes])
        return cls(noise_schedule().add_noise(latents, noise, times), noise, times, tokens)  # type: ignore[arg-type]

    @torch.no_grad()
    def of(self, model: Denoiser) -> float:
        return float((model(self.noisy, self.times, self.tokens) - self.noise).square().mean())


def tokens_of(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """int64 [N, L], all as long as the longest, and SHORTEST at least."""
    ids = [tokenizer(caption)["input_ids"] for caption in captions]
    length = max(SHORTEST, *(len(row) for row in ids))
    return torch.tensor([row + [tokenizer.eos_token_id] * (length - len(row)) for row in ids])


def train_denoiser(
    model: Denoiser,
    tokenizer: CLIPTokenizer,
    pool: LatentPool,
    held_out: Losses,
    budget: Budget,
    batch: int,
    seed: int,
    checkpoint: Path,
    log: Callable[[int, float], None],
) -> Denoiser:
    """Train until the budget is used up; returns the averaged weights.

    Args:
        model: to train, in place.
        batch: captioned scenes a step.
        checkpoint: written now and then; if it is there, training goes on from it.
        log: called with the step and the held-out loss of the average.
    """
    schedule = noise_schedule()
    average = copy.deepcopy(model).eval().requires_grad_(False)
    text = list(model.text_encoder.parameters())
    groups = [
        {"params": list(model.unet.parameters()), "share": 1.0},
        {"params": text, "share": TEXT_SHARE},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=1e-2, betas=(0.9, 0.99))
    random, generator = np.random.default_rng([seed, 3]), torch.Generator().manual_seed(seed + 1)
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        step, budget.spent_s = state["step"], state["elapsed_s"]
        random = np.random.default_rng([seed, 3, step])  # other draws than those it has seen
    while budget.share(step) < 1:
        if step % EVAL_EVERY == 0:
            log(step, held_out.of(average))
        rate = RATE * budget.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        chosen = random.integers(len(pool.scenes), size=batch)
        captions = [caption_of(pool.scenes[k], random) if random.random() >= DROPPED else "" for k in chosen]
        latents = pool.latents[torch.from_numpy(chosen)]  # [B, 4, h, w]
        noise = torch.randn(latents.shape, generator=generator)
        times = torch.randint(TIMES, (batch,), generator=generator)
        noisy = schedule.add_noise(latents, noise, times)  # type: ignore[arg-type]
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        loss = (model(noisy, times, tokens_of(tokenizer, captions)) - noise).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        decay = min(AVERAGED, step / (step + 10))  # early weights are forgotten fast
        with torch.no_grad():
            for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        if step % SAVE_EVERY == 0:
            _save(checkpoint, model, average, optimizer, generator, step, budget.elapsed_s)
    _save(checkpoint, model, average, optimizer, generator, step, budget.elapsed_s)
    log(step, held_out.of(average))
    return average


def _save(
    path: Path,
    model: Denoiser,
    average: Denoiser,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    step: int,
    elapsed_s: float,
) -> None:
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "step": step,
        "elapsed_s": elapsed_s,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
