"""Folders out: diffusers loads them and gives the same numbers; a round trip changes no bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from diffusion_perception.blueprints import assembled, from_pretrained
from shards.errors import ConfigError, SchemaMismatch
from tests.golden_files import GoldenSet
from vpd.backbones import sd_unet
from vpd.exchange.importing.files import read_checkpoint
from vpd.exchange.importing.folders import unet_rest, unet_weights, write_diffusers, write_model, write_unet
from vpd.exchange.importing.official import import_checkpoint
from vpd.exchange.pretrained import (
    encoder_options,
    initialise,
    read_blueprint,
    save_pretrained,
    with_weights,
)

OUT_HEAD = ("conv_norm_out.", "conv_out.")
LDM, REFER, DEPTH = "ldm_sd_v1_like.ckpt", "vpd_refer_model_best.pth", "vpd_depth_last.ckpt"


@pytest.fixture(scope="module")
def sd_folder(published, tmp_path_factory) -> Path:
    """The plain recorded model as a diffusers folder."""
    folder = tmp_path_factory.mktemp("sd")
    assert write_diffusers(folder, import_checkpoint(published(LDM), assembled)) == ["unet", "vae"]
    return folder


@pytest.fixture(scope="module")
def refer_folder(published, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("refer")
    write_model(folder, import_checkpoint(published(REFER), assembled, allow_namespace=True))
    return folder


@torch.no_grad()
def test_plain_diffusers_gives_the_published_outputs_of_an_original_file(sd_folder: Path, golden: GoldenSet) -> None:
    recorded = golden.recording("ldm")
    vae: Any = AutoencoderKL.from_pretrained(sd_folder / "vae")
    posterior = vae.encode(recorded["image_u8"].float() / 255 * 2 - 1).latent_dist
    torch.testing.assert_close(posterior.mode(), recorded["latent_mode"], rtol=0, atol=1e-4)
    torch.testing.assert_close(posterior.logvar, recorded["posterior_logvar"], rtol=0, atol=1e-4)
    unet: Any = UNet2DConditionModel.from_pretrained(sd_folder / "unet")
    eps = unet(recorded["latent_mode"], torch.ones(2).long(), recorded["context"]).sample
    torch.testing.assert_close(eps, recorded["eps_t1"], rtol=0, atol=1e-4)
    eps = unet(recorded["z_nonsquare"], recorded["t_nonsquare"], recorded["context"]).sample
    torch.testing.assert_close(eps, recorded["eps_nonsquare"], rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_backbone_of_an_original_file_gives_the_published_features(sd_folder, golden_wrapper) -> None:
    backbone = sd_unet.build(str(sd_folder))
    for i, feature in enumerate(backbone(golden_wrapper["latents"], golden_wrapper["context"])):
        name = f"default.feat{i}"
        torch.testing.assert_close(golden_wrapper.kept(name, feature), golden_wrapper[name], rtol=0, atol=4e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_safetensors_file_of_any_precision_becomes_the_same_weights(dtype, sd_folder, published, tmp_path) -> None:
    weights = {k: v.to(dtype) for k, v in read_checkpoint(published(LDM)).weights.items() if v.ndim}
    save_file(weights, tmp_path / "sd.safetensors")
    write_diffusers(tmp_path / "out", import_checkpoint(tmp_path / "sd.safetensors", assembled))
    for part in ("unet", "vae"):
        file = f"{part}/diffusion_pytorch_model.safetensors"
        found, plain = load_file(tmp_path / "out" / file), load_file(sd_folder / file)
        assert {v.dtype for v in found.values()} == {dtype}
        assert found.keys() == plain.keys()
        assert all(torch.equal(found[k], v.to(dtype)) for k, v in plain.items())


def test_the_text_encoder_of_an_original_file_is_the_one_transformers_has(published, tiny_sd, tmp_path) -> None:
    from pipeline.encoders.clip_text import build
    from pipeline.encoders.clip_text.tokenizer import save_tokenizer

    torch.manual_seed(0)
    words = json.loads((tiny_sd / "text_encoder" / "config.json").read_text())["vocab_size"]
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
    )
    text = CLIPTextModel(config).eval()
    named = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in text.state_dict().items()}
    weights = dict(read_checkpoint(published(LDM)).weights)
    weights |= {f"cond_stage_model.transformer.{k}": v for k, v in named.items()}
    weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save({"state_dict": weights}, tmp_path / "sd.ckpt")

    imported = import_checkpoint(tmp_path / "sd.ckpt", assembled)
    assert write_diffusers(tmp_path / "out", imported) == ["unet", "vae", "text_encoder"]
    save_tokenizer(str(tiny_sd), tmp_path / "out" / "tokenizer")
    encoder = build(str(tmp_path / "out"), length=77)
    tokens = encoder.tokenize(["a photo of a red ball"])
    with torch.no_grad():
        states = text(input_ids=torch.from_numpy(tokens).long()).last_hidden_state
    torch.testing.assert_close(torch.from_numpy(encoder.encode(tokens)), states, rtol=0, atol=1e-6)

    del weights["cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc2.bias"]
    torch.save({"state_dict": weights}, tmp_path / "sd.ckpt")
    with pytest.raises(SchemaMismatch, match=r"missing: text\.text_model\.encoder\.layers\.1\.mlp\.fc2\.bias"):
        import_checkpoint(tmp_path / "sd.ckpt", assembled)


@torch.no_grad()
def test_a_fine_tuned_unet_goes_back_to_diffusers_and_is_the_same_function(published, refer_folder, tmp_path) -> None:
    """The head comes from the file itself; the exported UNet is what the original names say."""
    blueprint = read_blueprint(refer_folder)
    weights = unet_weights(load_file(refer_folder / "model.safetensors"))
    write_unet(tmp_path, weights, blueprint.unet, str(refer_folder), "refer")
    exported: Any = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    imported = import_checkpoint(published(REFER), assembled, allow_namespace=True)
    plain = UNet2DConditionModel(**dict(imported.unet.config)).eval()
    plain.load_state_dict(imported.unet.weights)
    inputs = torch.randn(1, 4, 8, 8), torch.ones(1).long(), torch.randn(1, 40, 64)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in exported.state_dict().items())
    torch.testing.assert_close(exported.eval()(*inputs).sample, plain(*inputs).sample, rtol=0, atol=1e-4)
    again = sd_unet.build(str(tmp_path))  # and in again, as the backbone of a new run
    assert all(torch.equal(value, weights[name]) for name, value in again.unet.state_dict().items())


def test_a_checkpoint_without_output_head_takes_it_from_a_base_of_any_form(
    published, sd_folder, refer_folder, tmp_path
) -> None:
    depth = import_checkpoint(published(DEPTH), assembled)
    with pytest.raises(ConfigError, match=r"lacks conv_norm_out\., conv_out\.\*.*base="):
        write_diffusers(tmp_path / "none", depth)
    bases = {"folder": sd_folder, "file": published(LDM), "model": refer_folder}
    for name, base in bases.items():
        write_diffusers(tmp_path / name, depth, str(base))
        written = load_file(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors")
        assert len(written) == 686
        head = unet_rest(str(base), OUT_HEAD)
        assert all(torch.equal(written[key], value) for key, value in head.items())
    with pytest.raises(ConfigError, match=r"lacks conv_norm_out\., conv_out\.\* of its UNet, too"):
        unet_rest(str(published(DEPTH)), OUT_HEAD)


def test_a_folder_from_before_learned_prompts_is_still_read(refer_folder, tmp_path) -> None:
    shutil.copytree(refer_folder, tmp_path / "older")
    path = tmp_path / "older" / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("prompts") == {}
    path.write_text(json.dumps(config))
    assert from_pretrained(tmp_path / "older")[1] == from_pretrained(refer_folder)[1]


def test_import_export_import_changes_no_bit(published, refer_folder, tmp_path) -> None:
    first, blueprint = from_pretrained(refer_folder)
    save_pretrained(tmp_path / "again", first, blueprint)
    second, same = from_pretrained(tmp_path / "again")
    assert same == blueprint
    original = import_checkpoint(published(REFER), assembled, allow_namespace=True).weights
    for name, value in second.state_dict().items():
        assert torch.equal(value, original[name])
        assert not value.is_meta
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (refer_folder / "model.safetensors").read_bytes()


def test_a_loaded_model_trains(refer_folder: Path) -> None:
    model, _ = from_pretrained(refer_folder)
    model.train()(torch.randn(2, 4, 8, 8), torch.randn(2, 40, 64), (64, 64)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)  # its own memory, not a mapped file


def test_a_new_model_starts_from_a_saved_one_of_the_same_shape_only(refer_folder: Path) -> None:
    saved, blueprint = from_pretrained(refer_folder)
    zeros = {name: torch.zeros_like(value) for name, value in saved.state_dict().items()}
    fresh = with_weights(assembled(blueprint), zeros)
    initialise(fresh, refer_folder)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), saved.state_dict().values(), strict=True))
    fresh.head.conv1_1 = torch.nn.Conv2d(64, 3, 1)
    with pytest.raises(SchemaMismatch, match=r"head\.conv1_1\.weight \[2, 64, 1, 1\] \(expected \[3, 64, 1, 1\]\)"):
        initialise(fresh, refer_folder)


def test_encoders_of_a_folder_are_found_in_it(refer_folder: Path) -> None:
    from pipeline.encoders.sd_vae import build

    blueprint = read_blueprint(refer_folder)
    image = encoder_options(refer_folder, blueprint, "image")
    assert image == {"name": "sd_vae", "model": str(refer_folder / "vae")}
    assert build(image["model"]).fields((64, 64))[0].shape == ("V", 4, 8, 8)
    assert encoder_options(refer_folder, blueprint, "text")["model"] == "openai/clip-vit-large-patch14"
    with pytest.raises(SchemaMismatch, match="names no audio encoder"):
        encoder_options(refer_folder, blueprint, "audio")


@pytest.mark.parametrize("fault", ["no config", "foreign config", "no weights", "cut weights", "less weights"])
def test_a_folder_that_is_not_whole_is_refused(fault: str, refer_folder: Path, tmp_path: Path) -> None:
    weights = load_file(refer_folder / "model.safetensors")
    config = json.loads((refer_folder / "config.json").read_text())
    if fault == "less weights":
        weights.pop("head.conv1_1.bias")
    if fault == "foreign config":
        config = {"_class_name": "UNet2DConditionModel"}
    if fault != "no config":
        (tmp_path / "config.json").write_text(json.dumps(config))
    if fault != "no weights":
        save_file(weights, tmp_path / "model.safetensors")
    if fault == "cut weights":
        (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    expected = {
        "no config": (ConfigError, "no readable config.json"),
        "foreign config": (ConfigError, "not a model saved by this version"),
        "no weights": (ConfigError, "cannot be read"),
        "cut weights": (ConfigError, "cannot be read"),
        "less weights": (SchemaMismatch, r"1 keys missing: head\.conv1_1\.bias"),
    }[fault]
    with pytest.raises(expected[0], match=expected[1]):
        from_pretrained(tmp_path)
