"""What encoders say of themselves without weights: the same as when they are built, or that it was assumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.encoders import clip_text, sd_vae
from shards.errors import ConfigError

HUB_MODEL, REVISION = "somebody/some-model", "a" * 40


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """The configs of a model whose sizes are not Stable Diffusion 1's, without any weights."""
    write = {
        "vae": {"_class_name": "AutoencoderKL", "latent_channels": 16, "block_out_channels": [8, 8, 8, 8, 8]},
        "text_encoder": {"model_type": "clip_text_model", "hidden_size": 1024, "max_position_embeddings": 64},
    }
    for part, config in write.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, in place of this machine's."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("logvar", [False, True])
def test_an_image_encoder_says_what_it_stores_once_it_is_built(logvar: bool, model_folder: Path) -> None:
    built = sd_vae.build(str(model_folder), logvar=logvar)
    said = sd_vae.describe(str(model_folder), logvar=logvar)
    assert said.fields((48, 64)) == built.fields((48, 64))
    assert said == sd_vae.describe(str(model_folder / "vae"), logvar=logvar, dtype="float16")
    assert (said.encoder, said.assumed) == (built.fingerprint["encoder"], "")


def test_a_text_encoder_says_what_it_is_once_it_is_built(model_folder: Path) -> None:
    built = clip_text.build(str(model_folder), length=12)
    said = clip_text.describe(str(model_folder), length=12)
    assert (said.encoder, said.length, said.width) == (built.fingerprint["encoder"], built.length, built.width)
    assert said == clip_text.describe(str(model_folder / "text_encoder"), length=12)


def test_sizes_are_read_and_not_those_of_stable_diffusion_1(configs: Path) -> None:
    image, text = sd_vae.describe(str(configs)), clip_text.describe(str(configs), length=64)
    assert image.fields((64, 32))[0].shape == ("V", 16, 4, 2)
    assert (text.width, text.assumed) == (1024, "")
    with pytest.raises(ConfigError, match="64 x 40 pixels, but each side must be a multiple of 16"):
        image.fields((64, 40))
    with pytest.raises(ConfigError, match="length is 77 tokens, expected 3 to 64"):
        clip_text.describe(str(configs), length=77)


def test_a_model_of_text_and_pictures_is_described_by_its_text_part(tmp_path: Path) -> None:
    config = {"text_config": {"hidden_size": 512, "max_position_embeddings": 77}, "hidden_size": 9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert clip_text.describe(str(tmp_path)).width == 512


def test_of_a_hub_model_that_is_not_cached_the_sizes_are_assumed_and_that_is_said(hub_cache: Path) -> None:
    image, text = sd_vae.describe(HUB_MODEL), clip_text.describe(HUB_MODEL, length=40)
    assert image.fields((512, 512))[0].shape == ("V", 4, 64, 64)
    assert (text.length, text.width) == (40, 768)
    for said in (image.assumed, text.assumed):
        assert f"Stable Diffusion 1: {HUB_MODEL} is not in the local cache" in said


def test_of_a_cached_hub_model_the_sizes_are_read_at_its_revision(hub_cache: Path, configs: Path) -> None:
    snapshots = hub_cache / "models--somebody--some-model" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / REVISION).symlink_to(configs)
    assert sd_vae.describe(HUB_MODEL, REVISION).channels == 16
    assert clip_text.describe(HUB_MODEL, REVISION).width == 1024
    assert sd_vae.describe(HUB_MODEL, "b" * 40).assumed


@pytest.mark.parametrize("describe", [sd_vae.describe, clip_text.describe])
def test_a_place_without_such_a_part_is_one_clear_error(describe: Any, configs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for model, reason in [("nowhere", "nothing is there"), ("file", "this is a file"), ("empty", "no config.json")]:
        with pytest.raises(ConfigError, match=f"no usable .*{reason}.*Expected a diffusers folder"):
            describe(str(tmp_path / model))
    with pytest.raises(ConfigError, match="not a hub id"):
        describe("no such hub id")
    wrong = configs / ("text_encoder" if describe is sd_vae.describe else "vae")
    with pytest.raises(ConfigError, match=r"config\.json says .*, expected (AutoencoderKL|clip_text_model)"):
        describe(str(wrong))


def test_describing_loads_no_library_of_models(configs: Path) -> None:
    code = (
        "import sys; from pipeline.encoders import clip_text, sd_vae; from vpd.backbones import sd_unet\n"
        f"sd_vae.describe({str(configs)!r}); clip_text.describe({str(configs)!r}); sd_unet.describe('nobody/none')\n"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
