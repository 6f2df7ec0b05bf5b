"""What learns under each `model.train`, that the rest keeps still, and that merged LoRA layers change nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from toy_runs import TOKENS, UNET

from diffusion_perception.assembly.network import build_head
from shards.errors import ConfigError
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.regimes import apply_regime, learned_share, merged
from vpd.model.settings import LoraConfig, ModelConfig, PromptConfig
from vpd.tasks.refer import task as refer

TASK = refer.build()


def network(*, one_token: bool = False) -> Perception:
    torch.manual_seed(0)
    backbone = SdUnet.from_config(UNET)
    head = build_head(TASK, backbone.spec(1 if one_token else TOKENS), hidden=16)
    return Perception.conditioned(backbone, head, PromptConfig(), gamma_init=0.1, tokens=1 if one_token else None)


def batch(tokens: int = TOKENS) -> DeviceBatch:
    draw = torch.Generator().manual_seed(1)
    mask = (torch.rand(2, 64, 64, generator=draw) > 0.5).to(torch.uint8)
    width = UNET["cross_attention_dim"]
    return DeviceBatch(
        torch.randn(2, 4, 8, 8, generator=draw), torch.randn(2, tokens, width, generator=draw), {"mask": mask}
    )


def one_step(model: Perception, tokens: int = TOKENS) -> set[str]:
    """The parameters that a step moved."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1)
    drawn = batch(tokens)
    TASK.loss(model(drawn.latents, TASK.context(drawn), TASK.out_size_px(drawn)), drawn).backward()
    optimizer.step()
    return {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("settings", "moves", "stays"),
    [
        ({"train": "head"}, ("head.",), ("backbone.", "adapter.")),
        ({"train": "frozen"}, ("head.", "adapter."), ("backbone.",)),
        ({"train": "blocks", "blocks": ("up_blocks.3", "mid_block")}, ("head.", "adapter."), ("backbone.unet.down",)),
        ({"train": "lora"}, ("head.", "adapter."), ("backbone.unet.conv_in",)),
    ],
)
def test_a_step_moves_what_the_regime_names_and_nothing_else(
    settings: dict[str, Any], moves: tuple[str, ...], stays: tuple[str, ...]
) -> None:
    model = apply_regime(network(), ModelConfig(**settings))
    moved = one_step(model)
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    assert moved <= learning
    for prefix in moves:
        assert any(name.startswith(prefix) for name in moved), f"nothing of {prefix} moved"
    for prefix in stays:
        assert not any(name.startswith(prefix) for name in moved), f"some of {prefix} moved"


def test_named_blocks_learn_and_their_neighbours_do_not() -> None:
    model = apply_regime(network(), ModelConfig(train="blocks", blocks=("up_blocks.3", "unet.mid_block")))
    names = {name for name, value in model.backbone.named_parameters() if value.requires_grad}
    assert {name.split(".")[1] for name in names} == {"up_blocks", "mid_block"}
    assert not any(name.startswith("unet.up_blocks.2") for name in names)


def test_the_head_alone_keeps_no_graph_of_the_backbone() -> None:
    model = apply_regime(network(), ModelConfig(train="head"))
    drawn = batch()
    features, _ = model.features(drawn.latents, TASK.context(drawn))
    assert all(level.grad_fn is None and not level.requires_grad for level in features)


def test_lora_starts_as_the_same_network_and_merges_into_plain_names() -> None:
    plain, drawn = network().eval(), batch()
    lora = LoraConfig(rank=4, alpha=8, layers=("to_q", "to_v", "conv1"))  # linear layers, and convolutions of 3 x 3
    model = apply_regime(copy.deepcopy(plain), ModelConfig(train="lora", lora=lora))
    inputs = (drawn.latents, TASK.context(drawn), TASK.out_size_px(drawn))
    torch.testing.assert_close(model(*inputs), plain(*inputs))
    learned, whole = learned_share(model.backbone)
    assert 0 < learned < 0.2 * whole
    with torch.no_grad():  # as if trained
        for name, value in model.named_parameters():
            if ".lora_B." in name:
                value.normal_(0, 0.1)
    trained = model(*inputs)
    assert not torch.allclose(trained, plain(*inputs), atol=1e-3)
    plain.load_state_dict(merged(model.state_dict(), lora))
    torch.testing.assert_close(plain(*inputs), trained, rtol=1e-4, atol=1e-5)
    assert merged(plain.state_dict(), LoraConfig()).keys() == plain.state_dict().keys()


def test_lora_leaves_out_layers_that_one_token_leaves_without_effect() -> None:
    model = apply_regime(network(one_token=True), ModelConfig(train="lora"))
    assert not any("attn2.to_q.lora" in name for name, _ in model.named_parameters())
    one_token_moved = one_step(model, tokens=1)
    learning = {name for name, value in model.named_parameters() if value.requires_grad and "lora_A" not in name}
    assert learning <= one_token_moved | {name for name in learning if name.endswith(".bias")}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": "blocks", "blocks": ("up_block.3",)}, r"Its blocks: .*up_blocks\.3.*Did you mean|up_blocks"),
        ({"train": "lora", "lora": LoraConfig(layers=("to_w",))}, r"layers names 'to_w'.*to_q"),
    ],
)
def test_names_that_are_not_there_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        apply_regime(network(), ModelConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": "blocks"}, "expected names of blocks"),
        ({"blocks": ("mid_block",)}, "only with it"),
        ({"lora": LoraConfig(rank=2)}, "nothing reads it"),
    ],
)
def test_settings_of_another_regime_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ModelConfig(**settings)


@pytest.mark.parametrize("settings", [{"rank": 0}, {"dropout": 1.0}, {"layers": ()}])
def test_impossible_lora_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"model\.lora: rank"):
        LoraConfig(**settings)
