"""Attention arithmetic and the mean of maps, without a UNet."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from shards.errors import ConfigError
from vpd.backbones.sd_unet import attention
from vpd.backbones.sd_unet.attention import (
    LEAST_PIXELS,
    AttentionProcessor,
    MapMean,
    attention_probabilities,
    fused_attention,
)


def layer(heads: int = 2, width: int = 8, context: int = 6) -> SimpleNamespace:
    """What a processor sees of a diffusers attention layer."""
    torch.manual_seed(0)
    return SimpleNamespace(
        heads=heads,
        scale=(width // heads) ** -0.5,
        to_q=nn.Linear(width, width, bias=False),
        to_k=nn.Linear(context, width, bias=False),
        to_v=nn.Linear(context, width, bias=False),
        to_out=nn.ModuleList([nn.Linear(width, width), nn.Dropout(0.0)]),
    )


def by_loops(attn, pixels, tokens):
    """Output and head-mean map, a pixel and a head at a time."""
    query, key, value = attn.to_q(pixels), attn.to_k(tokens), attn.to_v(tokens)
    out, mean = torch.zeros_like(query), torch.zeros(*pixels.shape[:2], tokens.shape[1])
    size = query.shape[-1] // attn.heads
    for b in range(pixels.shape[0]):
        for head in range(attn.heads):
            part = slice(head * size, (head + 1) * size)
            for n in range(pixels.shape[1]):
                weights = (key[b, :, part] @ query[b, n, part] * attn.scale).softmax(0)
                mean[b, n] += weights / attn.heads
                out[b, n, part] = weights @ value[b, :, part]
    return attn.to_out[0](out), mean


@pytest.mark.parametrize("grad", [False, True])
@torch.no_grad()
def test_output_and_map_equal_plain_loops(grad):
    attn, pixels, tokens = layer(), torch.randn(2, 9, 8), torch.randn(2, 5, 6)
    maps: list[torch.Tensor] = []
    output = AttentionProcessor(grad)(attn, pixels, encoder_hidden_states=tokens, maps=maps)
    expected, mean = by_loops(attn, pixels, tokens)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(maps, [mean])


@torch.no_grad()
def test_self_attention_never_leaves_a_map():
    attn, pixels = layer(context=8), torch.randn(1, 4, 8)
    maps: list[torch.Tensor] = []
    output = AttentionProcessor()(attn, pixels, maps=maps)
    torch.testing.assert_close(output, by_loops(attn, pixels, pixels)[0])
    assert maps == []


def test_gradients_of_the_output_do_not_depend_on_the_way_it_is_computed():
    pixels, tokens, results = torch.randn(2, 9, 8), torch.randn(2, 5, 6), []
    for grad in (False, True):
        attn = layer()
        maps: list[torch.Tensor] = []
        AttentionProcessor(grad)(attn, pixels, encoder_hidden_states=tokens, maps=maps).square().sum().backward()
        results.append([attn.to_q.weight.grad, attn.to_k.weight.grad, attn.to_v.weight.grad])
        assert maps[0].requires_grad == grad
    torch.testing.assert_close(results[0], results[1])


def test_probabilities_are_float32_under_autocast_and_not_rounded_to_bfloat16():
    query, key = torch.randn(1, 2, 16, 64) * 3, torch.randn(1, 2, 7, 64) * 3
    query, key = query.bfloat16(), key.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = attention_probabilities(query, key, 0.125)
    exact = (query.double() @ key.double().transpose(-1, -2) * 0.125).softmax(-1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)


def test_a_mask_is_refused():
    with pytest.raises(ConfigError, match="attention masks"):
        AttentionProcessor()(layer(), torch.randn(1, 4, 8), torch.randn(1, 3, 6), attention_mask=torch.ones(1, 3))


def test_the_mean_is_plain_over_layers_and_laid_out_by_rows():
    maps, features = MapMean(), torch.zeros(1, 2, 2, 3)
    first, second, third = (torch.rand(1, 6, 4) for _ in range(3))
    maps.add(2, [first])
    maps.add(2, [second, third])
    maps.add(4, [torch.rand(1, 6, 4)])
    joined = maps.append_to(features, 2)
    assert joined.shape == (1, 6, 2, 3)
    torch.testing.assert_close(joined[0, 2:, 1, 2], ((first + second + third) / 3)[0, 5])
    assert maps.append_to(features, 1) is features


@pytest.mark.parametrize("least", [1, 16])  # of a CPU with AVX-512, and of one without
@pytest.mark.parametrize("channels", [4, 16, 24])
@pytest.mark.parametrize("tokens", [5, LEAST_PIXELS])
def test_no_layout_of_narrow_heads_changes_an_output_or_a_gradient(least: int, channels: int, tokens: int, monkeypatch):
    monkeypatch.setattr(attention, "LEAST_CHANNELS", least)
    torch.manual_seed(0)
    given = [
        torch.randn(1, length, 2, channels, dtype=torch.float64, requires_grad=True)
        for length in (LEAST_PIXELS, tokens, tokens)
    ]
    query, key, value = (x.transpose(1, 2) for x in given)  # as a projection leaves them
    found = fused_attention(query, key, value, 0.3)
    expected = (query @ key.transpose(-1, -2) * 0.3).softmax(-1) @ value
    torch.testing.assert_close(found, expected)
    slope = torch.randn_like(expected)
    pairs = (torch.autograd.grad(output, given, slope, retain_graph=True) for output in (found, expected))
    torch.testing.assert_close(*pairs)
