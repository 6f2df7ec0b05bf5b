"""The whole refer model against the official one: logits, mask, loss and gradients."""

from __future__ import annotations

import pytest
import torch

from diffusion_perception.assembly.network import build_head
from vpd.backbones.sd_unet.keys import unet_key
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.refer import task as refer

LDM = "unet.unet.diffusion_model."


@pytest.fixture
def official(make_unet, load_ldm, refer_weights):
    """Our model with the weights of an official refer checkpoint; options as of `SdUnet`."""

    def make(**options):
        backbone = load_ldm(make_unet(**options), refer_weights, LDM)
        model = Perception(backbone, TextAdapter(64), build_head(refer.build(), backbone.spec(40)))
        head = {k.removeprefix("classifier."): v for k, v in refer_weights.items() if k.startswith("classifier.")}
        adapter = {k: refer_weights[f"text_adapter.{k}"] for k in model.adapter.state_dict() if k != "gamma"}
        model.head.load_state_dict(head)
        model.adapter.load_state_dict(adapter | {"gamma": refer_weights["gamma"]})
        return model.eval()

    return make


def parameter_of(model, name):
    """The parameter of ours that an official name stands for."""
    if name.startswith(LDM):
        return model.backbone.unet.get_parameter(unet_key(name.removeprefix(LDM)))
    if name.startswith("classifier."):
        return model.head.get_parameter(name.removeprefix("classifier."))
    return model.adapter.get_parameter(name.removeprefix("text_adapter."))


@torch.no_grad()
def test_context_features_and_logits_equal_the_official_ones(official, golden_refer):
    model = official()
    context = model.adapter(golden_refer["l_feats"])
    torch.testing.assert_close(context, golden_refer["context"], rtol=0, atol=1e-6)
    features = model.backbone(golden_refer["latents"], context)
    for i, step in enumerate((4, 1, 1, 1)):  # the recording holds sample 0, and every fourth channel of the finest
        found = golden_refer.kept(f"feat{i}", features[i][:1, ::step])
        torch.testing.assert_close(found, golden_refer[f"feat{i}"], rtol=0, atol=4e-4)
    logits = model(golden_refer["latents"], golden_refer["l_feats"], (256, 256))
    torch.testing.assert_close(golden_refer.kept("logits", logits), golden_refer["logits"], rtol=0, atol=2e-4)
    assert (logits.argmax(1) != golden_refer["mask"]).sum() <= 10  # ties


@torch.no_grad()
@pytest.mark.parametrize("mistake", ["no adapter", "half-pixel corners", "up maps only"])
def test_a_single_mistake_is_far_outside_the_tolerance(mistake, official, golden_refer, monkeypatch):
    model = official(**({"attention_maps": "up"} if mistake == "up maps only" else {}))
    if mistake == "no adapter":
        model.adapter = torch.nn.Identity()
    if mistake == "half-pixel corners":
        plain = torch.nn.functional.interpolate
        monkeypatch.setattr(
            "vpd.heads.refer_decoder.F.interpolate",
            lambda x, **options: plain(
                x, **(options | ({"align_corners": False} if "align_corners" in options else {}))
            ),
        )
    logits = model(golden_refer["latents"], golden_refer["l_feats"], (256, 256))
    assert (golden_refer.kept("logits", logits) - golden_refer["logits"]).abs().max() > 100 * 2e-4


@pytest.mark.parametrize(
    ("attention_grad", "facts", "tensors"),
    [(False, "official_checkpointing", "grad.official."), (True, "checkpointing_disabled", "grad.nockpt.")],
)
def test_training_gradients_equal_the_official_ones(attention_grad, facts, tensors, official, golden_refer):
    """Published training (maps without gradient), and the official code with its checkpointing switched off."""
    model, task = official(attention_grad=attention_grad).train(), refer.build()
    batch = DeviceBatch(golden_refer["latents"], golden_refer["l_feats"], {"mask": golden_refer["grad.target"]})
    logits = model(batch.latents, task.context(batch), task.out_size_px(batch))
    loss = task.loss(logits, batch)
    loss.backward()

    expected = golden_refer.facts["grad"][facts]
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-5)
    found = golden_refer.kept("grad.logits_train_mode", logits[..., ::2, ::2])
    torch.testing.assert_close(found, golden_refer["grad.logits_train_mode"], rtol=0, atol=1e-3)
    norms = {name: norm for name, norm in expected["grad_norm"].items() if norm is not None}
    found = {name: parameter_of(model, name).grad.norm().item() for name in norms}
    assert found == pytest.approx(norms, rel=2e-3)
    total = torch.cat([p.grad.double().flatten() for p in model.parameters()]).norm().item()
    assert total == pytest.approx(expected["total_grad_norm"], rel=1e-5)
    recorded = [name for name in golden_refer.tensors if name.startswith(tensors)]
    assert len(recorded) == 4
    for name in recorded:
        grad, reference = parameter_of(model, name.removeprefix(tensors)).grad, golden_refer[name]
        torch.testing.assert_close(grad, reference, rtol=0, atol=2e-3 * reference.abs().max().item())


def small_model(make_unet, **options):
    backbone = make_unet()
    return Perception(backbone, TextAdapter(64), build_head(refer.build(), backbone.spec(5)), **options)


def test_latent_scale_multiplies_the_stored_latents(make_unet):
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64)
    with torch.no_grad():
        scaled = small_model(make_unet, latent_scale=0.25).eval()(latents.half(), text, (64, 64))
        model = small_model(make_unet).eval()
        torch.testing.assert_close(scaled, model(latents.half().float() * 0.25, text, (64, 64)))


def test_every_parameter_of_the_model_gets_a_gradient_in_bfloat16(make_unet):
    model = small_model(make_unet).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(2, 4, 16, 24), torch.randn(2, 5, 64), (128, 192))
    logits.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_the_adapter_starts_close_to_the_text_and_is_a_residual_mlp():
    adapter, text = TextAdapter(6), torch.randn(2, 3, 6)
    torch.testing.assert_close(adapter(text), text, atol=1e-3, rtol=0)
    adapter.gamma.data = torch.linspace(-1, 1, 6)
    first, second = adapter.fc[0], adapter.fc[2]
    hidden = text @ first.weight.T + first.bias
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(adapter(text), text + adapter.gamma * (hidden @ second.weight.T + second.bias))
