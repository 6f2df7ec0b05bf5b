"""Every family: what `Features` gives is what hooks on a plain pass of diffusers' own parts give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diffusion_perception.features.reading import Features
from shards.errors import ConfigError
from tests.tiny_pipelines import FAMILIES, tiny_pipeline

LAYERS = {
    "sd15": ["mid_block", "up_blocks.1", "up_blocks.2.attentions.1.transformer_blocks.0"],
    "sd21": ["down_blocks.0.resnets.1", "up_blocks.2", "up_blocks.3"],
    "bk_small": ["down_blocks.2", "up_blocks.1", "up_blocks.3.attentions.0"],
    "bk_tiny": ["down_blocks.1.attentions.0", "up_blocks.0", "up_blocks.2"],
    "sdxl": ["mid_block", "up_blocks.0.attentions.0.transformer_blocks.2", "up_blocks.1"],
    "sd3": ["transformer_blocks.0", "transformer_blocks.1.attn", "transformer_blocks.2"],
    "pixart": ["transformer_blocks.0", "transformer_blocks.1.attn2", "transformer_blocks.2"],
    "flux": ["transformer_blocks.1", "transformer_blocks.1.attn", "single_transformer_blocks.1"],
}
PROMPTS = ["a photo of a cat", "two dogs"]
JOINT = ("sd3", "flux")  # words and picture share one attention, latents have 16 channels, noise is that of a flow


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def features(family: str, tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features(tiny_pipeline(family, tmp_path_factory.mktemp(family)))


def pictures() -> list[np.ndarray]:
    """Two of 64 x 128 pixels."""
    return list(np.random.default_rng(0).integers(0, 256, (2, 64, 128, 3), np.uint8))


@torch.no_grad()
def by_hooks(family: str, pipeline: Any, layers: list[str], timestep: int, noise: torch.Tensor) -> dict[str, Any]:
    """A plain pass of the pipeline's parts, with forward hooks."""
    pixels = torch.from_numpy(np.stack(pictures())).permute(0, 3, 1, 2).contiguous() / 127.5 - 1  # [2, 3, H, W]
    vae = pipeline.vae
    latents = (vae.encode(pixels).latent_dist.mode() - (vae.config.shift_factor or 0)) * vae.config.scaling_factor
    kept: dict[str, Any] = {}
    network = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(lambda _m, _i, out, layer=layer: kept.update({layer: out}))
    if family in JOINT:
        latents = 0.261 * noise + (1 - 0.261) * latents
    else:
        latents = pipeline.scheduler.add_noise(latents, noise.expand(2, -1, -1, -1), torch.full((2,), timestep))
    if family == "sd3":
        states, _, pooled, _ = pipeline.encode_prompt(PROMPTS, None, None, do_classifier_free_guidance=False)
        steps = torch.full((2,), float(timestep))
        network(latents, encoder_hidden_states=states, pooled_projections=pooled, timestep=steps)
    elif family == "flux":
        states, pooled, text_places = pipeline.encode_prompt(PROMPTS, None)
        packed = latents.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        places = torch.tensor([[0.0, row, column] for row in range(4) for column in range(8)])
        ones = torch.ones(2)
        network(packed, states, pooled, ones * timestep / 1000, places, text_places, ones * 3.5)
    elif family == "pixart":
        states, mask, _, _ = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
        added = {"resolution": None, "aspect_ratio": None}
        network(latents, states, torch.full((2,), timestep), added, encoder_attention_mask=mask)
    else:
        added = None
        if family == "sdxl":
            states, _, pooled, _ = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
            sizes = pipeline._get_add_time_ids((64, 128), (0, 0), (64, 128), states.dtype, 32)
            added = {"text_embeds": pooled, "time_ids": sizes.repeat(2, 1)}
        else:
            tokens = pipeline.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt")
            states = pipeline.text_encoder(tokens.input_ids)[0]
        network(latents, timestep, states, added_cond_kwargs=added)
    for layer in layers:
        network.get_submodule(layer)._forward_hooks.clear()
    return kept


def test_three_layers_are_those_of_a_plain_pass_with_hooks(family: str, features: Features) -> None:
    layers, noise = LAYERS[family], torch.randn(1, 16 if family in JOINT else 4, 8, 16)
    found = features(pictures(), PROMPTS, layers=layers, timestep=261, noise=noise)
    expected = by_hooks(family, features.pipeline, layers, 261, noise)
    for layer in layers:
        output = expected[layer]
        if isinstance(output, tuple):  # a down block's map and its skips; a joint block's text and its picture
            output = output[1 if family in JOINT and not layer.endswith("attn") else 0]
        values = found[layer].values  # [2, C, h, w]
        if output.ndim == 3:
            values = values.flatten(2).transpose(1, 2)
        torch.testing.assert_close(values, output, rtol=0, atol=1e-5, msg=lambda said, layer=layer: f"{layer}: {said}")
        assert found[layer].stride_px[0] == found[layer].stride_px[1] == 64 / found[layer].values.shape[-2]


def test_a_picture_has_the_same_features_whatever_stands_beside_it(family: str, features: Features) -> None:
    options: dict[str, Any] = {"layers": LAYERS[family][:1], "timestep": 100, "noise": "ddpm", "ensemble": 3}
    options["posterior"] = "sample"
    both = features(pictures(), PROMPTS, batch_size=2, **options)
    alone = features(pictures()[1:], PROMPTS[1], batch_size=8, **options)
    (layer,) = both
    torch.testing.assert_close(both[layer].values[1:], alone[layer].values, rtol=1e-4, atol=1e-5)
    other = features(pictures()[1:], PROMPTS[1], seed=1, **options)
    assert (other[layer].values - alone[layer].values).abs().max() > 1e-3


def test_stored_latents_give_what_their_picture_gives(family: str, features: Features) -> None:
    vae, layer = features.pipeline.vae, LAYERS[family][0]
    pixels = torch.from_numpy(np.stack(pictures())).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
    with torch.no_grad():
        raw = vae.encode(pixels).latent_dist.mode()
    found, expected = features(latents=raw, layers=[layer]), features(pictures(), layers=[layer])
    torch.testing.assert_close(found[layer].values, expected[layer].values, rtol=0, atol=1e-5)
    assert found[layer].stride_px == expected[layer].stride_px


def test_nothing_behind_the_last_layer_is_computed(family: str, features: Features) -> None:
    *_, last = features.layers()
    reached: list[bool] = []
    hook = features.network.get_submodule(last).register_forward_hook(lambda *_: reached.append(True))
    try:
        features(pictures(), layers=features.layers()[:1])
        assert not reached
        features(pictures(), layers=[last])
        assert reached
    finally:
        hook.remove()


def test_words_are_looked_at_or_there_is_no_such_attention(family: str, features: Features) -> None:
    if family in JOINT:
        with pytest.raises(ConfigError, match="share one attention"):
            features(pictures(), "a cat", attention="cross")
        return
    seen = features(pictures(), "a cat", attention="cross", ensemble=2, noise="ddpm")
    assert seen.attention is not None
    for name, maps in seen.attention.layers.items():
        assert name.endswith(".attn2")
        torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:-1]), rtol=0, atol=1e-5)
    assert seen.heat_of("cat", size=(16, 32)).shape == (16, 32)
    with pytest.raises(ConfigError, match="'dog' is no word of the prompt"):
        seen.heat_of("dog")
    long = features(pictures(), "a " * 400 + "cat", attention="cross")  # cut to what the model reads
    assert long.attention is not None
    assert len(long.words[0]) == long.attention.n_tokens
    own = features(pictures(), attention="self").attention
    assert own is not None
    maps = next(iter(own.layers.values()))
    assert maps.shape[-1] == maps.shape[2] * maps.shape[3]
