"""Names of UNet weights."""

from __future__ import annotations

import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from shards.errors import SchemaMismatch
from vpd.backbones.sd_unet.keys import unet_key


@pytest.mark.parametrize(
    ("ldm", "diffusers"),
    [
        ("time_embed.2.bias", "time_embedding.linear_2.bias"),
        ("input_blocks.0.0.weight", "conv_in.weight"),
        ("input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight"),
        ("input_blocks.4.0.skip_connection.bias", "down_blocks.1.resnets.0.conv_shortcut.bias"),
        ("input_blocks.5.1.proj_in.weight", "down_blocks.1.attentions.1.proj_in.weight"),
        ("input_blocks.9.0.op.weight", "down_blocks.2.downsamplers.0.conv.weight"),
        ("middle_block.2.out_layers.3.weight", "mid_block.resnets.1.conv2.weight"),
        ("output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
        ("output_blocks.8.2.conv.bias", "up_blocks.2.upsamplers.0.conv.bias"),
        ("output_blocks.11.0.emb_layers.1.weight", "up_blocks.3.resnets.2.time_emb_proj.weight"),
        (
            "output_blocks.11.1.transformer_blocks.0.attn2.to_out.0.bias",
            "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0.bias",
        ),
        ("out.2.weight", "conv_out.weight"),
    ],
)
def test_known_names(ldm, diffusers):
    assert unet_key(ldm) == diffusers


def test_every_weight_of_an_original_file_lands_on_one_diffusers_weight_of_its_shape(sd_weights, make_unet):
    prefix = "model.diffusion_model."
    mapped = {unet_key(k.removeprefix(prefix)): v.shape for k, v in sd_weights.items() if k.startswith(prefix)}
    whole = UNet2DConditionModel(**dict(make_unet().unet.config))
    assert mapped == {k: v.shape for k, v in whole.state_dict().items()}
    assert len(mapped) == 686


@pytest.mark.parametrize("key", ["betas", "first_stage_model.encoder.conv_in.weight", "input_blocks.1.weight"])
def test_other_names_are_refused(key):
    with pytest.raises(SchemaMismatch, match="not a weight of an LDM UNet"):
        unet_key(key)
