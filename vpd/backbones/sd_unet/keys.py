"""Names of the UNet's and the VAE's weights: original Stable Diffusion (LDM) to diffusers.

Owns the mapping of names (docs/methods/checkpoints.md#unet-names, docs/methods/checkpoints.md#vae-names). Values are
the same on both sides, and so are shapes, but for the VAE's attention, whose 1x1 convolutions became linear layers.
Reading files, stripping the prefixes of the published checkpoints and checking completeness are left to
`vpd.exchange.importing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shards.errors import SchemaMismatch

FIXED = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
VAE_MID = {
    "block_1": "resnets.0",
    "block_2": "resnets.1",
    "attn_1.norm": "attentions.0.group_norm",
    "attn_1.q": "attentions.0.to_q",
    "attn_1.k": "attentions.0.to_k",
    "attn_1.v": "attentions.0.to_v",
    "attn_1.proj_out": "attentions.0.to_out.0",
}


def unet_key(key: str, layers_per_block: int = 2) -> str:
    """The diffusers name of an LDM weight, both without prefix (`input_blocks.1.0.in_layers.0.weight`).

    Raises:
        SchemaMismatch: not a name of an LDM UNet.
    """
    for ldm, ours in FIXED.items():
        if key.startswith(ldm + "."):
            return f"{ours}.{_inner(key.removeprefix(ldm + '.'))}"
    if match := re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.+)", key):
        side, index, child, rest = match[1], int(match[2]), int(match[3]), match[4]
        # An input level is its layers, then one downsampler; an output level has a layer more and no own entry.
        level, layer = divmod(index - (side == "input"), layers_per_block + 1)
        block = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
        if rest.startswith("op."):
            return f"{block}.downsamplers.0.conv.{rest.removeprefix('op.')}"
        if rest.startswith("conv."):
            return f"{block}.upsamplers.0.conv.{rest.removeprefix('conv.')}"
        return f"{block}.{'resnets' if child == 0 else 'attentions'}.{layer}.{_inner(rest)}"
    raise SchemaMismatch(f"{key!r} is not a weight of an LDM UNet; expected names such as 'input_blocks.0.0.weight'.")


def layers_per_block(keys: Iterable[str]) -> int:
    """Layers of a UNet level, read from where the first downsampler stands.

    Raises:
        SchemaMismatch: no downsampler among the names.
    """
    found = [int(m[1]) for key in keys if (m := re.match(r"input_blocks\.(\d+)\.0\.op\.", key))]
    if not found:
        raise SchemaMismatch("no downsampler (input_blocks.N.0.op) among the weights: not a whole LDM UNet.")
    return min(found) - 1


def vae_key(key: str, levels: int) -> str:
    """The diffusers name of an LDM autoencoder weight of `levels` resolutions, both without prefix.

    Raises:
        SchemaMismatch: not a name of an LDM autoencoder.
    """
    if key.startswith(("quant_conv.", "post_quant_conv.")):
        return key
    side, _, rest = key.partition(".")
    if side in ("encoder", "decoder"):
        if rest.startswith(("conv_in.", "conv_out.")):
            return key
        if rest.startswith("norm_out."):
            return f"{side}.conv_{rest}"
        for ldm, ours in VAE_MID.items():
            if rest.startswith(f"mid.{ldm}."):
                return f"{side}.mid_block.{ours}.{rest.removeprefix(f'mid.{ldm}.')}"
        if match := re.fullmatch(r"(down|up)\.(\d+)\.(block\.(\d+)|downsample|upsample)\.(.+)", rest):
            # The decoder's levels are counted from the finest in LDM, in the order of execution in diffusers.
            level = int(match[2]) if match[1] == "down" else levels - 1 - int(match[2])
            part = f"resnets.{match[4]}" if match[4] else f"{match[3]}rs.0"  # downsample -> downsamplers
            inner = match[5].replace("nin_shortcut.", "conv_shortcut.")
            return f"{side}.{match[1]}_blocks.{level}.{part}.{inner}"
    raise SchemaMismatch(f"{key!r} is not a weight of an LDM VAE; expected names such as 'encoder.conv_in.bias'.")


def _inner(rest: str) -> str:
    """Names inside a resnet; those inside a transformer are the same on both sides."""
    for ldm, ours in RESNET.items():
        if rest.startswith(ldm + "."):
            return f"{ours}.{rest.removeprefix(ldm + '.')}"
    return rest
