"""The network of `sd_vae`: pixels in [-1, 1] -> raw posterior mean, as the published VPD-like methods use it.

Owns loading (encoder and quant_conv only; the decoder is dropped), compute precision and the stored form. The mean is
never sampled from and never multiplied by 0.18215 (docs/methods/vpd.md#latents): methods disagree on scaling, so it
belongs to load time.

Precision (error of the mean relative to float32; docs/methods/performance.md#precision-of-latents): TF32 1.3e-3,
float16 2.0e-3, bfloat16 1.6e-2; storing as float16 costs 2.1e-4. Shapes: B images of H x W pixels, C latent channels of
h x w.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn

from pipeline.encoders import Levels
from pipeline.encoders._arithmetic import float32_arithmetic
from pipeline.encoders._compiling import Compiled
from pipeline.encoders._levels import PixelsOfLevels, host_array
from pipeline.encoders._loading import check_device, exact_facts, load_part, weights_sha256
from pipeline.encoders.sd_vae.facts import facts_of, stride_of
from shards.contract.schema import Field
from shards.errors import ConfigError
from shards.geometry.view import Size

_LOGVAR_RANGE = (-30.0, 20.0)  # the range diffusers' DiagonalGaussianDistribution clamps to


class SdVae:
    """A `pipeline.encoders.LevelEncoder`. `encode` gives "latent" float16 [B, C, h, w], and "logvar" if asked for."""

    def __init__(
        self,
        vae: AutoencoderKL,
        *,
        dtype: str,
        device: torch.device,
        tf32: bool,
        logvar: bool,
        compiled: bool = False,
    ) -> None:
        self._exact = moments_of(vae).to(device)
        self._fast = copy.deepcopy(self._exact).half() if dtype == "float16" else self._exact
        self._run = Compiled(self._fast) if compiled else self._fast
        self._device = device
        self._pixels_of = PixelsOfLevels(device)
        self._tf32 = tf32 and dtype == "float32"
        self._logvar = logvar
        stride_px = stride_of(len(vae.config["block_out_channels"]))
        self.facts = facts_of(int(vae.config["latent_channels"]), stride_px, logvar)
        self.fingerprint: dict[str, Any] = {
            "encoder": "sd_vae",
            "weights": weights_sha256(self._exact.named_parameters()),
            "layout": {name: vae.config[name] for name in ("act_fn", "norm_num_groups", "mid_block_add_attention")},
            "dtype": dtype,
            "tf32": self._tf32,
            "logvar": logvar,
            **({"compiled": True} if compiled else {}),  # sets of before keep their fingerprint
        }
        self.exact = exact_facts(device)

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        """Raises ConfigError when a side is not a multiple of the latent stride."""
        return self.facts.fields(size_px)

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return host_array(shape, torch.float32, self._device)

    def allocate_levels(self, shape: tuple[int, ...]) -> np.ndarray:
        return host_array(shape, torch.uint8, self._device)

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Pixels float32 [B, 3, H, W] in [-1, 1] -> float16 arrays [B, C, h, w].

        A float16 pass that is not finite everywhere is repeated in full float32. What still does not fit float16 is
        returned as inf or NaN in its own row.
        """
        return self._encoded(torch.from_numpy(pixels).to(self._device, non_blocking=True))

    @torch.inference_mode()
    def encode_levels(self, levels: Levels) -> dict[str, np.ndarray]:
        """The same of levels, bit for bit."""
        return self._encoded(self._pixels_of(levels))

    def _encoded(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        with float32_arithmetic(self._tf32):
            moments = self._run(images.to(next(self._fast.parameters()).dtype))  # [B, 2C, h, w]
            if self._fast is not self._exact and not torch.isfinite(moments).all():
                moments = self._exact(images)
        mean, logvar = moments.float().chunk(2, dim=1)  # [B, C, h, w] each
        stored = {"latent": mean.half().cpu().numpy()}
        if self._logvar:
            stored["logvar"] = logvar.clamp(*_LOGVAR_RANGE).half().cpu().numpy()
        return stored


def load(
    model: str, revision: str | None, *, dtype: str, device: str, tf32: bool, logvar: bool, compiled: bool
) -> SdVae:
    """The encoder; arguments as of `sd_vae.build`. Raises ConfigError."""
    target = check_device("sd_vae", device)
    return SdVae(
        load_vae(model, revision, ("encoder.", "quant_conv.")),
        dtype=dtype,
        device=target,
        tf32=tf32,
        logvar=logvar,
        compiled=compiled,
    )


def load_vae(model: str, revision: str | None, parts: tuple[str, ...] = ("",)) -> AutoencoderKL:
    """The whole VAE in float32. ConfigError unless all weights of these parts, by how their names begin, are there."""
    vae, report = load_part(
        "sd_vae",
        model,
        "vae",
        AutoencoderKL.from_pretrained,
        revision,
        torch_dtype=torch.float32,
        output_loading_info=True,
    )
    absent = sorted(name for name in report["missing_keys"] if name.startswith(parts))
    if absent:
        raise ConfigError(
            f"sd_vae: {model!r} lacks {len(absent)} weights that are needed, such as {absent[0]}; expected an "
            "AutoencoderKL. Point at the VAE of a Stable Diffusion model"
        )
    return vae


def moments_of(vae: AutoencoderKL) -> nn.Sequential:
    """Only what latents need: encoder and quant_conv, frozen, in eval mode."""
    parts = {"encoder": vae.encoder, "quant_conv": vae.quant_conv if vae.quant_conv is not None else nn.Identity()}
    moments = nn.Sequential()
    for name, part in parts.items():
        moments.add_module(name, part)
    return moments.eval().requires_grad_(False)
