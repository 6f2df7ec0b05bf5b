"""What a backbone says before it is built, and what it inherits from the contract."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import Backbone, BackboneFacts, Companions, FeatureSpec, LatentLayout, Level, sd_unet

FACTS = BackboneFacts(Companions("pixels"), LatentLayout(3, 4, 0.5, 0.1), 6, (Level("f1", 8, 4), Level("f2", 9, 8)))


class Plain(nn.Module, Backbone):
    """As little as a backbone can say."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = FACTS

    def forward(self, latents, context, time=None):
        return [latents, context]


def test_a_built_unet_says_the_same_as_its_config(make_unet, tmp_path):
    built = make_unet()
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(dict(built.unet.config)))
    said = sd_unet.describe(str(tmp_path), attention_maps="up", timestep=3)
    assert said == built.facts == sd_unet.describe(str(tmp_path / "unet"))
    assert (said.companions.image, said.companions.text) == ("sd_vae", "clip_text")
    assert (said.context_width, said.latents.channels, said.latents.scale) == (64, 4, 0.18215)
    assert [(level.channels, level.stride) for level in said.levels] == [(32, 8), (64, 16), (128, 32), (128, 64)]
    assert said.latents.size_px(60, 80) == (480, 640)
    assert said.spec(7).widths == (32, 64, 128, 128)
    assert built.spec(7).widths == (32, 64 + 7, 128 + 7, 128)


def test_of_a_model_that_is_not_at_hand_the_facts_are_assumed_and_that_is_said():
    facts = sd_unet.describe("nobody/no-such-model")
    assert "nobody/no-such-model is not in the local cache" in facts.assumed
    assert (facts.latents.channels, facts.context_width, len(facts.levels)) == (4, 768, 4)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (None, r"no usable unet in .*has no config\.json.*Expected a diffusers folder or a hub id"),
        ("{", r"config\.json is not readable JSON"),
        (
            '{"block_out_channels": [8], "cross_attention_dim": [8, 8], "in_channels": 4}',
            r"cross_attention_dim \[8, 8\]",
        ),
        ('{"latent_channels": 4}', "in_channels None"),
    ],
)
def test_a_folder_without_such_a_config_is_one_clear_error(config, match, tmp_path):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match=match):
        sd_unet.describe(str(tmp_path))


def test_what_a_backbone_does_not_say_it_inherits():
    plain = Plain()
    assert plain.context_width == 6
    assert plain.spec(5) == FeatureSpec(FACTS.levels, 5, 6)
    assert plain.time_width == 0
    plain.check_passes(None)
    plain.expect_one_token()
    assert len(plain(torch.zeros(1), torch.zeros(1))) == 2
    with pytest.raises(ConfigError, match="Plain takes no learned times"):
        plain.check_passes(2)
    with pytest.raises(ConfigError, match=r"no blocks to compile: set loop\.compile=false"):
        plain.compile_blocks()
