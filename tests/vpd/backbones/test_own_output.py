"""`own_output`: the UNet's own prediction, as diffusers computes it, and its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from shards.errors import ConfigError
from tests.tiny_pipelines import UNETS, write_tiny_encoders
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.heads.label_latent import LabelLatentHead


def networks(family: str, **options: object) -> tuple[UNet2DConditionModel, SdUnet]:
    torch.manual_seed(0)
    plain = UNet2DConditionModel(**UNETS[family]).eval()
    ours = UNet2DConditionModel(**UNETS[family])
    ours.load_state_dict(plain.state_dict())
    made = SdUnet(ours, attention_maps="", timestep=999, own_output=True, **options)  # pyright: ignore[reportArgumentType]
    return plain, made.eval()


@pytest.mark.parametrize("family", ["sd15", "sd21", "bk_tiny"])
@pytest.mark.parametrize("side", [(8, 8), (12, 20)])
def test_it_is_what_diffusers_predicts(family: str, side: tuple[int, int]) -> None:
    plain, ours = networks(family)
    latents, context = torch.randn(2, 4, *side), torch.randn(2, 5, 32)
    with torch.no_grad():
        wanted = plain(latents, 999, context).sample
        (found,) = ours(latents, context)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    (level,) = ours.spec(5).levels
    assert (level.name, level.width, level.stride) == ("latent", 4, 8)


def test_every_weight_has_a_gradient() -> None:
    _, ours = networks("sd15", gradient_checkpointing=True)
    (found,) = ours.train()(torch.randn(1, 4, 8, 8), torch.randn(1, 5, 32))
    found.square().sum().backward()
    assert [name for name, weight in ours.named_parameters() if weight.grad is None] == []


def test_maps_and_several_passes_are_refused() -> None:
    unet = UNet2DConditionModel(**UNETS["sd15"])
    with pytest.raises(ConfigError, match="own_output gives the UNet's prediction alone"):
        SdUnet(unet, own_output=True)
    with pytest.raises(ConfigError, match="found output_head False, resize_skips True"):
        SdUnet(unet, attention_maps="", own_output=True, resize_skips=True)
    ours = SdUnet(unet, attention_maps="", timestep=None, own_output=True)
    with pytest.raises(ConfigError, match="own_output is of one pass at a fixed time"):
        ours.check_passes(1)


def test_the_head_decodes_in_evaluation_and_is_in_no_checkpoint(tmp_path: Path) -> None:
    write_tiny_encoders(tmp_path)
    _, ours = networks("sd15")
    head = LabelLatentHead(ours.spec(5), str(tmp_path), latent_scale=0.5, latent_shift=0.25)
    latents = torch.randn(2, 4, 8, 8)
    assert head.train()([latents], None, latents) is latents
    shown = head.eval()([(latents - 0.25) * 0.5], None, latents)
    assert shown.shape == (2, 1, 64, 64)
    vae: Any = AutoencoderKL.from_pretrained(tmp_path / "vae")
    with torch.no_grad():
        decoded = vae.decode(latents).sample  # [2, 3, H, W]
    torch.testing.assert_close(shown[:, 0], decoded.mean(dim=1).clamp(-1, 1), rtol=1e-4, atol=1e-5)
    assert decoded.abs().max() > 1, "so that the order of mean and limits is seen"
    assert head.state_dict() == {}
    with pytest.raises(ConfigError, match=r"set backbone\.own_output=true"):
        LabelLatentHead(SdUnet(UNet2DConditionModel(**UNETS["sd15"])).spec(5), str(tmp_path))
