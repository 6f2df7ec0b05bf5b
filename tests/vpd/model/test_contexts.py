"""Contexts that need less work than the general one, and the three forms a model takes a context in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor

from shards.errors import ConfigError
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter

LATENTS = (2, 4, 16, 24)


def is_frozen(name):
    return "attentions." in name and any(part in name for part in (".norm2.", ".attn2.to_q.", ".attn2.to_k."))


def trained(backbone, latents, context):
    """Features, and the gradients of their weighted sum for the context and every parameter."""
    context = context.clone().requires_grad_()
    features = backbone(latents, context)
    torch.manual_seed(3)
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    return features, context.grad, {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_one_token_equals_the_plain_path_in_features_and_gradients(checkpointing, make_unet):
    """The plain path is diffusers' own attention, which forms every query, key and weight."""
    latents, token = torch.randn(*LATENTS), torch.randn(2, 1, 64)
    plain = make_unet(attention_maps="")
    plain.unet.set_attn_processor(AttnProcessor())
    collapsed = make_unet(attention_maps="", gradient_checkpointing=checkpointing)
    collapsed.expect_one_token()
    expected, context_grad, grads = trained(plain, latents, token)
    found, found_context_grad, found_grads = trained(collapsed, latents, token)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found_context_grad, context_grad, rtol=1e-3, atol=1e-4)
    assert {n for n in grads if n not in found_grads} == {n for n in grads if is_frozen(n)}
    scale = max(g.abs().max() for g in grads.values())
    for name, grad in grads.items():
        if is_frozen(name):
            assert grad.abs().max() < 1e-5 * scale  # zero up to rounding: there is nothing to train
        else:
            torch.testing.assert_close(found_grads[name], grad, rtol=1e-3, atol=1e-5 * scale.item())


def test_the_collapse_freezes_what_has_no_effect_and_renames_nothing(make_unet):
    plain, backbone = make_unet(), make_unet()
    backbone.expect_one_token()
    backbone.expect_one_token()  # twice is once
    frozen = [name for name, p in backbone.named_parameters() if not p.requires_grad]
    assert len(frozen) == 64
    assert all(is_frozen(name) for name in frozen)
    assert {n: v.shape for n, v in backbone.state_dict().items()} == {n: v.shape for n, v in plain.state_dict().items()}
    backbone.load_state_dict(plain.state_dict(), strict=True)
    features = backbone.train()(torch.randn(*LATENTS), torch.randn(2, 1, 64))
    sum(f.square().mean() for f in features).backward()
    assert [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_collapse_does_no_query_key_or_norm_work(make_unet, monkeypatch):
    backbone = make_unet()
    backbone.expect_one_token()
    blocks = [m for m in backbone.unet.modules() if hasattr(m, "attn2")]
    for block in blocks:
        for module in (block.attn2.to_q, block.attn2.to_k):
            module.register_forward_hook(lambda *_: pytest.fail("a query or key was formed"))
    norms, plain = [], F.layer_norm
    monkeypatch.setattr(F, "layer_norm", lambda *a, **k: norms.append(1) or plain(*a, **k))
    with torch.no_grad():
        backbone(torch.randn(1, 4, 8, 8), torch.randn(1, 1, 64))
    assert len(blocks) == 16
    assert len(norms) == 2 * len(blocks)  # of three norms a block, those of self-attention and feed-forward


@torch.no_grad()
@pytest.mark.parametrize("attention_grad", [False, True])
def test_maps_of_one_token_are_ones(attention_grad, make_unet):
    backbone = make_unet(attention_grad=attention_grad)
    features = backbone(torch.randn(*LATENTS), torch.randn(2, 1, 64))
    assert [f.shape[1] for f in features] == list(backbone.spec(1).widths)
    assert torch.equal(features[1][:, 64:], torch.ones(2, 1, 8, 12))


def test_a_declared_token_count_that_does_not_hold_is_refused(make_unet):
    backbone = make_unet()
    backbone.expect_one_token()
    with pytest.raises(ConfigError, match="declared one context token, this context has 3"):
        backbone(torch.randn(*LATENTS), torch.randn(2, 3, 64))


@pytest.mark.parametrize("attention_grad", [False, True])
@pytest.mark.parametrize("tokens", [1, 7])
def test_a_shared_context_equals_its_copies(attention_grad, tokens, make_unet):
    latents, context = torch.randn(*LATENTS), torch.randn(1, tokens, 64)
    backbone = make_unet(attention_grad=attention_grad)
    expected, grad_of_copies, grads = trained(backbone, latents, context.expand(2, -1, -1))
    backbone.zero_grad()
    found, shared_grad, found_grads = trained(backbone, latents, context)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(shared_grad, grad_of_copies.sum(0, keepdim=True), rtol=1e-3, atol=1e-3)
    scale = max(g.abs().max() for g in grads.values()).item()
    torch.testing.assert_close(found_grads, grads, rtol=1e-3, atol=1e-5 * scale)


@torch.no_grad()
def test_keys_and_values_of_a_shared_context_are_formed_once(make_unet):
    backbone, batches = make_unet(), set()
    for module in backbone.unet.modules():
        if hasattr(module, "attn2"):
            for layer in (module.attn2.to_k, module.attn2.to_v):
                layer.register_forward_hook(lambda _m, args, _out: batches.add(len(args[0])))
    backbone(torch.randn(*LATENTS), torch.randn(1, 7, 64))
    assert batches == {1}


class Recorder(torch.nn.Module):
    """A backbone that keeps the context it is given."""

    context_width = 6

    def forward(self, latents, context):
        self.context = context
        return [latents]

    def check_passes(self, passes):
        pass

    def expect_one_token(self):
        self.one_token = True


def perceive(context, table=None, **options):
    torch.manual_seed(0)
    adapter = TextAdapter(6, gamma_init=0.5)
    model = Perception(Recorder(), adapter, torch.nn.Identity(), class_embeddings=table, **options)
    model.head.forward = lambda features, size, context: features[0]
    with torch.no_grad():
        model(torch.zeros(2, 4, 1, 1), context, (8, 8))
        return model.backbone.context, adapter


def test_class_numbers_take_rows_of_the_table_and_minus_one_the_mean():
    table = torch.randn(5, 6)
    found, adapter = perceive(torch.tensor([3, -1]), table)
    assert found.shape == (2, 1, 6)
    with torch.no_grad():
        torch.testing.assert_close(found[0], adapter(table[3:4]))
        torch.testing.assert_close(found[1], adapter(table.mean(0, keepdim=True)))


def test_class_numbers_of_a_token_level_table_take_all_its_tokens():
    table = torch.randn(5, 3, 6)
    found, adapter = perceive(torch.tensor([4, 0]), table)
    with torch.no_grad():
        torch.testing.assert_close(found, adapter(table[[4, 0]]))


def test_no_context_means_all_classes_once_for_the_batch():
    table = torch.randn(5, 6)
    found, adapter = perceive(None, table)
    with torch.no_grad():
        torch.testing.assert_close(found, adapter(table[None]))


def test_text_states_pass_through_the_adapter():
    states = torch.randn(2, 4, 6).half()
    found, adapter = perceive(states)
    with torch.no_grad():
        torch.testing.assert_close(found, adapter(states))


def test_the_table_travels_with_the_weights_and_is_not_trained():
    table = torch.randn(5, 6)
    model = Perception(Recorder(), TextAdapter(6), torch.nn.Identity(), class_embeddings=table, tokens=1)
    assert torch.equal(model.state_dict()["class_embeddings"], table)
    assert "class_embeddings" not in dict(model.named_parameters())
    assert model.backbone.one_token
    bare = Perception(Recorder(), TextAdapter(6), torch.nn.Identity())
    assert "class_embeddings" not in bare.state_dict()
    assert not hasattr(bare.backbone, "one_token")


@pytest.mark.parametrize(
    ("table", "context", "match"),
    [
        (torch.randn(5, 7), None, r"shape \[5, 7\], expected \[classes, 6\]"),
        (torch.randn(6), None, r"shape \[6\], expected"),
        (None, None, "has no class table"),
        (None, torch.tensor([0, 1]), "has no class table"),
        (torch.randn(5, 3, 6), None, r"shape \[5, 3, 6\]; a context of all classes"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(table, context, match):
    with pytest.raises(ConfigError, match=match):
        perceive(context, table)
