"""`vit` gives what transformers gives for ECoDepth's picture of a view, names its weights, and explains odd models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ViTForImageClassification
from transformers.models.vit import ViTImageProcessor

from pipeline.encoders import LevelEncoder, Levels, vit
from pipeline.encoders._beside import BesideLevels, beside
from pipeline.encoders.sd_vae import build as build_vae
from pipeline.encoders.vit.encoder import published_name
from pipeline.encoders.vit.picture import Preparation
from pipeline.rendering.geometry import to_pixels
from shards.errors import ConfigError
from tests.tiny_vit import CLASSES, SIDE_PX, WIDTH, write_vit

SHOWN = np.random.default_rng(0).integers(0, 256, (2, 45, 90, 3), np.uint8)  # on a canvas of 64 x 96
SAID: dict[str, Any] = {"size": {"height": SIDE_PX, "width": SIDE_PX}, "image_mean": [0.4, 0.5, 0.6]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vit(tmp_path_factory.mktemp("vit"), **SAID, image_std=[0.2, 0.3, 0.25], resample=2)


def pixels() -> np.ndarray:
    """Float32 [2, 3, 64, 96] in [-1, 1], grey below and to the right."""
    return to_pixels(list(SHOWN), (64, 96), pad_before_px=[(0, 0)] * 2)


def published(model: Path, **options: Any) -> Any:
    """What the model says of the same views by the published steps: Pillow and transformers' own preparation."""
    views = np.full((2, 96, 96, 3), 0, np.uint8)  # black below
    views[:, :64] = 127  # the grey of a view's padding, as a whole number
    views[:, :45, :90] = SHOWN
    prepare = ViTImageProcessor.from_pretrained(model)
    inputs = prepare(images=[Image.fromarray(view) for view in views], return_tensors="pt")
    network = ViTForImageClassification.from_pretrained(model).eval()
    with torch.no_grad():
        return network(**inputs, **options)


def test_logits_are_those_of_the_published_steps(model: Path) -> None:
    found = vit.build(str(model)).encode(pixels())["vision"]
    assert (found.dtype, found.shape) == (np.float16, (2, CLASSES))
    expected = published(model).logits.numpy()
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, atol=0.003)


def test_the_state_is_the_class_tokens_behind_the_last_layer(model: Path) -> None:
    found = vit.build(str(model), says="state").encode(pixels())["vision"]
    expected = published(model, output_hidden_states=True).hidden_states[-1][:, 0]
    assert found.shape == (2, WIDTH)
    np.testing.assert_allclose(found, expected.numpy(), atol=0.005)


def test_levels_give_the_same_bits_and_the_padding_matters(model: Path) -> None:
    encoder = vit.build(str(model))
    assert isinstance(encoder, LevelEncoder)
    levels = Levels(encoder.allocate_levels((2, 64, 96, 3)), [(0, 0, 45, 90)] * 2)
    levels.values[:] = 7
    levels.values[:, :45, :90] = SHOWN
    found = encoder.encode_levels(levels)["vision"]
    np.testing.assert_array_equal(found, encoder.encode(pixels())["vision"])
    shifted = to_pixels(list(SHOWN), (64, 96), pad_before_px=[(10, 0)] * 2)
    assert np.abs(found - encoder.encode(shifted)["vision"]).max() > 0.01


def test_it_says_what_it_stores_without_weights(model: Path) -> None:
    for says in ("logits", "state"):
        built, said = vit.build(str(model), says=says), vit.describe(str(model), says=says, dtype="float16")
        assert said.fields((64, 96)) == built.fields((64, 96))
    unknown = vit.describe("somebody/some-vit")
    assert (unknown.width, "not in the local cache" in unknown.assumed) == (1000, True)


def test_fingerprints_follow_weights_and_preparation_not_the_place(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    found = vit.build(str(model)).fingerprint
    assert vit.build(str(copy)).fingerprint == found
    assert str(model) not in json.dumps(found)
    names = {published_name(name) for name, _ in ViTForImageClassification.from_pretrained(model).named_parameters()}
    weights = load_file(copy / "model.safetensors")
    assert names == set(weights), "named as in files, whatever the version of transformers"

    weights["classifier.bias"] += 1
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert vit.build(str(copy)).fingerprint["weights"] != found["weights"]
    state = vit.build(str(model), says="state").fingerprint
    assert vit.build(str(copy), says="state").fingerprint == state, "a state is not the classifier's"
    assert state["layout"] != found["layout"]
    (copy / "preprocessor_config.json").unlink()
    assert vit.build(str(copy)).fingerprint["layout"] != found["layout"]


def test_without_a_file_the_preparation_is_transformers_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = write_vit(tmp_path)
    said = vit.build(str(model)).fingerprint["layout"]["picture"]
    assert "holds no preprocessor_config.json" in caplog.text
    plain = ViTImageProcessor()
    assert said["mean"] == list(plain.image_mean)
    assert said["std"] == list(plain.image_std)
    assert said["scale"] == pytest.approx(plain.rescale_factor)
    assert said["kernel"] == "bilinear"


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"size": {"shortest_edge": 32}}, r"size = .*takes 32 x 32"),
        ({"size": 48}, "size = 48"),
        ({"do_resize": False}, "do_resize = false"),
        ({"do_center_crop": True}, "do_center_crop"),
        ({"resample": 1}, "resample = 1"),
        ({"image_std": [0.5, 0.0, 0.5]}, "image_std"),
    ],
)
def test_a_preparation_that_is_none_of_these_is_refused(said: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        vit.build(str(write_vit(tmp_path, **said)))


def test_models_that_are_none_are_explained(model: Path, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no usable vit"):
        vit.build(str(model_folder / "vae"))
    with pytest.raises(ConfigError, match="says is 'words', expected logits"):
        vit.build(str(model), says="words")  # pyright: ignore[reportArgumentType]
    copy = shutil.copytree(model, tmp_path / "headless")
    weights = {name: value for name, value in load_file(copy / "model.safetensors").items() if "classifier" not in name}
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 2 weights .*classifier"):
        vit.build(str(copy))
    assert vit.build(str(copy), says="state").fields((8, 8))[0].shape == ("V", WIDTH)


def test_beside_a_vae_both_are_shown_the_same(model: Path, model_folder: Path) -> None:
    vae, seen = build_vae(str(model_folder)), vit.build(str(model))
    both = beside(vae, seen)
    assert isinstance(both, BesideLevels)
    assert isinstance(both, LevelEncoder)
    assert both.fields((64, 96)) == vae.fields((64, 96)) + seen.fields((64, 96))
    assert both.fingerprint == vae.fingerprint
    encoded = both.encode(pixels())
    np.testing.assert_array_equal(encoded["latent"], vae.encode(pixels())["latent"])
    np.testing.assert_array_equal(encoded["vision"], seen.encode(pixels())["vision"])
    assert beside(vae, None) is vae
    with pytest.raises(ConfigError, match="both store the field 'vision'"):
        beside(seen, seen).fields((64, 96))


@pytest.mark.parametrize(("kernel", "filters"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", 3)])
@pytest.mark.parametrize("shape", [(64, 96), (50, 20), (32, 32)])  # wide, high and smaller than the input, just right
def test_pictures_are_pillows(kernel: str, filters: int, shape: tuple[int, int]) -> None:
    view = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    view[0].reshape(-1)[: 3 * shape[1]] = np.resize(np.arange(256), 3 * shape[1])
    square = np.zeros((max(shape), max(shape), 3), np.uint8)
    square[: shape[0], : shape[1]] = view
    expected = np.asarray(Image.fromarray(square).resize((32, 32), Image.Resampling(filters)), np.float32)
    preparation = Preparation((32, 32), kernel, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = preparation(torch.from_numpy(to_pixels([view], shape)))[0].permute(1, 2, 0).numpy()
    apart = np.abs(found - expected)
    assert apart.max() <= 1, "where a fraction is a half"
    assert (apart > 0).mean() < 0.004
