"""The token of the picture: ECoDepth's layers written out, what of it learns how fast, and what it is refused with."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch, context_of
from vpd.model.image_token import ImageToken
from vpd.model.perception import Perception
from vpd.model.settings import ModelConfig, PromptConfig, VisionConfig
from vpd.tasks.depth import task as depth
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import named_groups

SAID, WIDTH = 10, 64


def made(make_unet) -> Perception:
    from diffusion_perception.assembly.network import build_head

    backbone = make_unet(attention_maps="")
    head = build_head(depth.build(), backbone.spec(1), width=32, hidden=16)
    return Perception.conditioned(backbone, head, PromptConfig(), vision=VisionConfig(7, 5), said=SAID, tokens=1)


def test_a_token_is_the_published_sum() -> None:
    token = ImageToken(SAID, WIDTH, VisionConfig(7, 5), gamma_init=0.5)
    vectors = torch.randn(3, SAID)
    named = dict(token.named_parameters())
    hidden = F.gelu(vectors @ named["fc.0.weight"].T + named["fc.0.bias"])
    weights = torch.softmax(hidden @ named["fc.2.weight"].T + named["fc.2.bias"], dim=1)  # [3, 7]
    mixed = weights @ named["embeddings"]  # [3, WIDTH]
    inner = F.gelu(F.linear(mixed, named["embedding_adapter.fc.0.weight"], named["embedding_adapter.fc.0.bias"]))
    expected = mixed + 0.5 * F.linear(
        inner, named["embedding_adapter.fc.2.weight"], named["embedding_adapter.fc.2.bias"]
    )
    torch.testing.assert_close(token(vectors), expected[:, None], rtol=0, atol=1e-5)
    assert token(vectors.half()).dtype == torch.float32
    assert ImageToken(SAID, WIDTH, VisionConfig(7)).embedding_adapter.gamma.eq(1e-4).all()
    assert VisionConfig(100).hidden == 400


def test_the_network_reads_it_in_place_of_classes(make_unet) -> None:
    model, task = made(make_unet).eval(), depth.build()
    assert model.reads_vision
    assert model.class_embeddings is None
    said = torch.randn(2, SAID)
    labels = {"class_id": torch.zeros(2, dtype=torch.int64), "out_px": torch.tensor([[128, 128]] * 2)}
    batch = DeviceBatch(torch.randn(2, 4, 16, 16), None, labels | {"vision": said.half()})
    context = context_of(task, batch)
    assert context is batch.labels["vision"]
    assert model.text_states(context).shape == (2, 1, model.backbone.context_width)
    with torch.no_grad():
        assert model(batch.latents, context, (128, 128)).shape == (2, 1, 128, 128)
        here, other = (model.features(batch.latents, told)[0][0] for told in (said, -3 * said))
    assert (here != other).any()
    classes = context_of(task, DeviceBatch(batch.latents, None, labels))
    with pytest.raises(ConfigError, match="token is made of what a vision encoder says"):
        model.text_states(classes)


def test_the_table_learns_ten_times_as_fast(make_unet) -> None:
    groups = named_groups(made(make_unet), OptimConfig(lr=1e-3, weight_decay=0.1, preset="ecodepth"))
    by_name = {group["name"]: group for group in groups}
    assert by_name["embeddings"]["names"] == ["adapter.embeddings"]
    assert (by_name["embeddings"]["lr"], by_name["embeddings"]["weight_decay"]) == (1e-2, 0.1)
    assert by_name["backbone"]["lr"] == pytest.approx(1e-5)
    assert "adapter.fc.0.weight" in by_name["rest"]["names"]
    assert "adapter.embedding_adapter.gamma" in by_name["no_decay"]["names"]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="classes is -1"):
        VisionConfig(-1)
    with pytest.raises(ConfigError, match="nothing reads hidden"):
        VisionConfig(0, 5)
    with pytest.raises(ConfigError, match="both take the place of text"):
        ModelConfig(prompts=PromptConfig(5), vision=VisionConfig(5))
