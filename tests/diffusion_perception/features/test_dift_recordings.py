"""`Features` against recordings of the official DIFT and DAAM code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diffusion_perception.features.reading import Features
from shards.errors import ConfigError
from tests.dift_model import pipeline_of
from tests.golden_files import Golden, GoldenSet
from vpd.features.matching import are_right, matches

FEATURE_ATOL, MAP_ATOL = 4e-4, 1e-5  # of features that spread by about 4, and of probabilities


@pytest.fixture(scope="module")
def dift(golden: GoldenSet) -> Golden:
    return golden.recording("dift")


@pytest.fixture(scope="module")
def features(dift: Golden, tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features(pipeline_of(dift.facts, tmp_path_factory.mktemp("dift")))


def picture(dift: Golden, name: str) -> torch.Tensor:
    levels = dift[name]
    if levels.shape[-1] == 3:
        levels = levels.movedim(-1, 0)[None]
    return (levels.float() / 255 - 0.5) * 2  # [1, 3, H, W]


def seen(features: Features, dift: Golden, tag: str, layers: list[str], **options: Any) -> Any:
    run = dift.facts["runs"][tag]
    return features(
        picture(dift, run["image"]),
        dift.facts["prompts"][run["prompt"]],
        layers=layers,
        timestep=run["t"],
        noise=dift[f"{tag}.noise"],
        posterior=dift[f"{tag}.posterior_eps"],
        ensemble=run["ensemble_size"],
        **options,
    )


@pytest.mark.parametrize("tag", ["single", "ensemble4", "null_t101", "nonsquare"])
def test_up_blocks_are_the_official_features(tag: str, features: Features, dift: Golden) -> None:
    layers = [f"up_blocks.{i}" for i in range(4)]
    found = seen(features, dift, tag, layers, batch_size=3)
    assert list(found) == layers
    for i, layer in enumerate(layers):
        values = dift.kept(f"{tag}.up{i}", found[layer].values)
        torch.testing.assert_close(values, dift[f"{tag}.up{i}"], rtol=0, atol=FEATURE_ATOL)
    assert [found[layer].stride_px for layer in layers] == [(32, 32), (16, 16), (8, 8), (8, 8)]


def test_time_0_is_the_official_feature(features: Features, dift: Golden) -> None:
    found = seen(features, dift, "t0", ["up_blocks.1"])
    values = dift.kept("t0.up1", found["up_blocks.1"].values)
    torch.testing.assert_close(values, dift["t0.up1"], rtol=0, atol=FEATURE_ATOL)


def test_a_resized_picture_is_the_official_one(features: Features, dift: Golden) -> None:
    from PIL import Image

    run = dift.facts["runs"]["eval"]
    width, height = run["img_size_wh"]
    image = Image.fromarray(np.asarray(dift["eval.image_u8_hwc"]))
    found = features(
        [image],
        dift.facts["prompts"][run["prompt"]],
        layers=["up_blocks.1"],
        timestep=run["t"],
        noise=dift["eval.noise"],
        posterior=dift["eval.posterior_eps"],
        ensemble=2,
        size_px=(height, width),
    )
    values = dift.kept("eval.up1", found["up_blocks.1"].values)
    torch.testing.assert_close(values, dift["eval.up1"], rtol=0, atol=FEATURE_ATOL)


def test_heat_of_words_is_the_official_one(features: Features, dift: Golden) -> None:
    facts = dift.facts["daam"]
    raw = dift["daam.step1.unet_latents"] / features.pipeline.vae.config["scaling_factor"]
    found = features(
        latents=raw, prompts=facts["prompt"], timestep=facts["runs"]["step1"]["timesteps"][0], attention="cross"
    )
    attention = found.attention
    assert attention is not None
    kept = [name for name in attention.layers if attention.layers[name].shape[2] > 8]  # DAAM leaves the coarsest out
    assert len(kept) == len(facts["kept_layers"])
    rows = len(dift["daam.step1.global"])
    heat = dift.kept("daam.step1.global", attention.heat((64, 64), kept)[0][:rows])
    torch.testing.assert_close(heat, dift["daam.step1.global"], rtol=0, atol=MAP_ATOL)
    attention.layers = {name: attention.layers[name] for name in kept}
    heat = dift.kept("daam.step1.word.cat", found.heat_of("cat"))
    torch.testing.assert_close(heat, dift["daam.step1.word.cat"], rtol=0, atol=MAP_ATOL)
    assert found.heat_of("photo").shape == (64, 64)


def test_matches_and_their_share_that_is_right_are_the_official_ones(features: Features, dift: Golden) -> None:
    """From pictures: five of them, three pairs, 18 points."""
    from PIL import Image

    facts = dift.facts["spair"]
    width, height = facts["img_size_wh"]

    def map_of(name: str, category: str) -> torch.Tensor:
        found = features(
            [Image.fromarray(np.asarray(dift[f"spair.{name}.image_u8_hwc"]))],
            f"a photo of a {category}",
            layers=["up_blocks.1"],
            timestep=facts["t"],
            noise=dift[f"spair.{name}.noise"],
            posterior=dift[f"spair.{name}.posterior_eps"],
            ensemble=facts["ensemble_size"],
            size_px=(height, width),
        )
        values = found["up_blocks.1"].values
        recorded = dift[f"spair.{name}.up1"]
        torch.testing.assert_close(dift.kept(f"spair.{name}.up1", values), recorded, rtol=0, atol=FEATURE_ATOL)
        return values[0]

    found, right = [], []
    for pair in facts["pairs"]:
        names = [pair[side].removesuffix(".png") for side in ("src_imname", "trg_imname")]
        source, target = (map_of(name, pair["category"]) for name in names)
        source_px, target_px = ((pair[side][1], pair[side][0]) for side in ("src_imsize", "trg_imsize"))
        matched = matches(source, target, torch.tensor(pair["src_kps"]), source_px, target_px)
        found += matched.tolist()
        right.append(are_right(matched, torch.tensor(pair["trg_kps"]), pair["trg_bndbox"]))
    assert found == facts["matches_xy_in_order"]
    assert [[int(one.sum()), len(one)] for one in right] == facts["per_pair_correct_total"]
    per_image = torch.stack([one.double().mean() for one in right]).mean().item() * 100
    assert facts["printed"][-2:] == [
        f"All per image PCK@0.1: {per_image:.2f}",
        f"All per point PCK@0.1: {torch.cat(right).double().mean().item() * 100:.2f}",
    ]


def test_a_point_outside_its_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="outside its picture of 8 x 9 pixels"):
        matches(torch.ones(2, 1, 1), torch.ones(2, 1, 1), torch.tensor([[9, 0]]), (8, 9), (8, 9))
