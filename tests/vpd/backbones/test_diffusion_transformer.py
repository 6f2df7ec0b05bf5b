"""The backbone `diffusion_transformer` against hooks on plain passes of diffusers' own transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shards.errors import ConfigError
from tests.made_there import MadeThere
from tests.tiny_pipelines import tiny_pipeline
from vpd.backbones import diffusion_transformer
from vpd.backbones.diffusion_transformer.facts import facts_of
from vpd.backbones.diffusion_transformer.pyramid import default_taps, levels_of
from vpd.training.memory.without_data import model_like

FAMILIES = ("pixart", "sd3", "flux")
ROWS, COLUMNS = 6, 4  # of the tokens; latents are twice as large


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(family: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_pipeline(family, tmp_path_factory.mktemp(family)).transformer.eval()


@pytest.fixture(scope="module")
def model(network: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    network.save_pretrained(folder / "transformer")
    return str(folder)


def blocks_of(network: Any) -> list[Any]:
    return [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", ())]


@torch.no_grad()
def plain_pass(family: str, network: Any, latents: torch.Tensor, states: torch.Tensor, carried: torch.Tensor) -> Any:
    """The picture's tokens behind every block, by hooks on diffusers' own forward pass at t = 1."""
    kept: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, out: kept.append(out[1] if isinstance(out, tuple) else out))
        for block in blocks_of(network)
    ]
    ones = torch.ones(len(latents))
    if family == "pixart":
        added = {"resolution": None, "aspect_ratio": None}
        network(latents, states, ones, added, encoder_attention_mask=carried[..., 0])
    elif family == "sd3":
        network(latents, states, carried[:, 0], ones)
    else:
        packed = latents.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        places = torch.tensor([[0.0, row, column] for row in range(ROWS) for column in range(COLUMNS)])
        network(packed, states, carried[:, 0], ones / 1000, places, torch.zeros(states.shape[1], 3), ones * 3.5)
    for hook in hooks:
        hook.remove()
    return kept


def inputs(family: str, network: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, states and what their tokens carry, of two pictures."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4 if family == "pixart" else 16, 2 * ROWS, 2 * COLUMNS, generator=generator)
    states = torch.randn(2, 7, 32, generator=generator)
    if family == "pixart":
        return latents, states, torch.tensor([[1.0] * 7, [1.0] * 4 + [0.0] * 3])[..., None]
    pooled = torch.randn(2, network.config["pooled_projection_dim"], generator=generator)
    return latents, states, pooled[:, None].expand(-1, 7, -1)


def test_levels_are_a_pyramid_of_a_plain_pass(family: str, network: Any, model: str) -> None:
    backbone: Any = diffusion_transformer.build(model)
    latents, states, carried = inputs(family, network)
    kept = plain_pass(family, network, latents, states, carried)
    assert backbone.taps == default_taps(len(kept))
    with torch.no_grad():
        found = backbone.eval()(latents, torch.cat([states, carried], dim=-1))
    maps = [kept[tap].unflatten(1, (ROWS, COLUMNS)).movedim(-1, 1) for tap in backbone.taps]
    for level, values, expected in zip(backbone.facts.levels, found, levels_of(maps), strict=True):
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
        assert values.shape[1:] == (level.channels, -(-96 // level.stride), -(-64 // level.stride))
    torch.testing.assert_close(found[1], maps[1], rtol=0, atol=1e-5)


def test_what_it_says_without_weights_is_what_it_is(family: str, model: str) -> None:
    built: Any = diffusion_transformer.build(model)
    assert diffusion_transformer.describe(model) == built.facts
    again: Any = diffusion_transformer.from_config(diffusion_transformer.read_config(model))
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in built.state_dict().items()
    }
    assert built.facts.companions.text == f"{family}_text"
    assert not built.facts.assumed


@pytest.mark.parametrize("taps", [(), (0, 0, 1, 1)])
def test_every_parameter_that_learns_gets_a_gradient(family: str, network: Any, model: str, taps: tuple) -> None:
    backbone: Any = diffusion_transformer.build(model, taps=taps, gradient_checkpointing=bool(taps))
    latents, states, carried = inputs(family, network)
    loss = sum((level**2).mean() for level in backbone(latents, torch.cat([states, carried], dim=-1)))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    without = [name for name, one in backbone.named_parameters() if one.requires_grad and one.grad is None]
    assert not without


def test_what_does_not_fit_is_refused(family: str, model: str, tiny_sd: Path) -> None:
    with pytest.raises(ConfigError, match="gives none: VPD's recipe is of a UNet's cross-attention"):
        diffusion_transformer.build(model, attention_maps="up+down")
    with pytest.raises(ConfigError, match=r"taps are \[0, 1, 2\]; expected 4 blocks from 0 to"):
        diffusion_transformer.build(model, taps=(0, 1, 2))
    with pytest.raises(ConfigError, match="no usable transformer"):
        diffusion_transformer.build(str(tiny_sd))
    backbone: Any = diffusion_transformer.build(model)
    odd = torch.zeros(1, backbone.facts.latents.channels, 5, 4)
    with pytest.raises(ConfigError, match=r"latents of \[5, 4\] cannot be cut into patches of 2 x 2"):
        backbone(odd, torch.zeros(1, 3, backbone.context_width))


def test_incomplete_weights_are_refused_by_name(model: str, tmp_path: Path) -> None:
    folder = shutil.copytree(Path(model) / "transformer", tmp_path / "transformer")
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["proj_out.weight"]
    save_file(weights, file)
    with pytest.raises(ConfigError, match=r"diffusion_transformer: .* 1 missing keys, e\.g\. proj_out\.weight"):
        diffusion_transformer.build(str(tmp_path))


def test_it_is_copied_and_runs_on_shapes_alone(network: Any, model: str) -> None:
    """As a forecast and the count of a step's operations do; nothing is made elsewhere than on the device."""
    backbone: Any = diffusion_transformer.build(model, gradient_checkpointing=True)
    latents = torch.zeros(1, backbone.facts.latents.channels, 2 * ROWS, 2 * COLUMNS, device="meta")
    context = torch.zeros(1, 3, backbone.context_width, device="meta")
    with MadeThere():
        found = model_like(backbone)(latents, context)
    assert [level.shape[1] for level in found] == [level.channels for level in backbone.facts.levels]


def test_a_hub_model_that_is_not_here_has_no_assumed_sizes() -> None:
    with pytest.raises(ConfigError, match="its sizes cannot be assumed"):
        diffusion_transformer.describe("nobody/no-such-model")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"num_layers": "3"}, "num_layers = '3'; expected a whole number"),
        ({"num_single_layers": 0}, "num_single_layers = 0; expected a whole number"),
        ({"in_channels": 63}, "in_channels 63; expected 4 a channel"),
    ],
)
def test_a_damaged_config_is_told(changes: dict[str, Any], found: str) -> None:
    config = {"_class_name": "FluxTransformer2DModel", "num_layers": 2, "num_single_layers": 2, "in_channels": 64}
    config |= {"num_attention_heads": 2, "attention_head_dim": 16, "joint_attention_dim": 32}
    config |= {"pooled_projection_dim": 32}
    assert facts_of(config).latents.channels == 16
    with pytest.raises(ConfigError, match=found):
        facts_of(config | changes)
